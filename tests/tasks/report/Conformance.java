import java.io.FileInputStream;
import java.io.InputStream;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.Comparator;
import javax.xml.parsers.DocumentBuilderFactory;
import org.verapdf.gf.foundry.VeraGreenfieldFoundryProvider;
import org.verapdf.pdfa.Foundries;
import org.verapdf.pdfa.PDFAParser;
import org.verapdf.pdfa.flavours.PDFAFlavour;
import org.verapdf.pdfa.results.TestAssertion;
import org.verapdf.pdfa.results.ValidationResult;
import org.verapdf.pdfa.validation.profiles.Profiles;
import org.verapdf.pdfa.validation.profiles.Rule;
import org.verapdf.pdfa.validation.profiles.ValidationProfile;
import org.verapdf.pdfa.validation.profiles.Variable;
import org.verapdf.pdfa.validation.validators.ValidatorFactory;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;

/**
 * Judges PDFs by veraPDF's own rules: java -cp JAR Conformance.java PDFA-3A,PDFUA-1 report.pdf...
 *
 * A line a file and profile: file, profile, whether it conforms, how many checks were made; below it the rules that
 * were broken, and how often. The wheel that carries veraPDF leaves out the JAXB that its profiles are read with, so
 * they are read here.
 */
public class Conformance {
    public static void main(String[] arguments) throws Exception {
        VeraGreenfieldFoundryProvider.initialise();
        for (String name : arguments[0].split(",")) {
            ValidationProfile profile = profile(name);
            for (int i = 1; i < arguments.length; i++) {
                judge(name, profile, arguments[i]);
            }
        }
    }

    private static void judge(String name, ValidationProfile profile, String file) throws Exception {
        try (InputStream in = new FileInputStream(file);
                PDFAParser parser = Foundries.defaultInstance().createParser(in, profile.getPDFAFlavour())) {
            ValidationResult result = ValidatorFactory.createValidator(profile, -1, false, false, false).validate(parser);
            System.out.println(file + "\t" + name + "\t" + result.isCompliant() + "\t" + result.getTotalAssertions());
            Map<String, Integer> times = new LinkedHashMap<>();
            for (TestAssertion found : result.getTestAssertions()) {
                String rule = found.getRuleId().getClause() + "-" + found.getRuleId().getTestNumber();
                times.merge(rule + "\t" + found.getMessage(), 1, Integer::sum);
            }
            times.forEach((rule, n) -> System.out.println("  " + rule + "\t" + n));
        }
    }

    private static ValidationProfile profile(String name) throws Exception {
        String path = "org/verapdf/pdfa/validation/" + name + ".xml";
        Element root;
        try (InputStream in = Conformance.class.getClassLoader().getResourceAsStream(path)) {
            root = DocumentBuilderFactory.newInstance().newDocumentBuilder().parse(in).getDocumentElement();
        }
        TreeSet<Rule> rules = new TreeSet<>(Comparator.comparing((Rule r) -> r.getRuleId().getClause())
            .thenComparing(r -> r.getRuleId().getTestNumber()).thenComparing(Rule::getObject));
        NodeList found = root.getElementsByTagName("rule");
        for (int i = 0; i < found.getLength(); i++) {
            rules.add(rule((Element) found.item(i)));
        }
        TreeSet<Variable> variables = new TreeSet<>(Comparator.comparing(Variable::getName).thenComparing(Variable::getObject));
        NodeList named = root.getElementsByTagName("variable");
        for (int i = 0; i < named.getLength(); i++) {
            Element e = (Element) named.item(i);
            variables.add(Profiles.variableFromValues(
                e.getAttribute("name"), e.getAttribute("object"), text(e, "defaultValue"), text(e, "value")));
        }
        if (rules.size() != found.getLength()) {
            throw new IllegalStateException(name + ": some rules have the same id");
        }
        return Profiles.profileFromValues(PDFAFlavour.valueOf(root.getAttribute("flavour")),
            Profiles.profileDetailsFromValues(name, "", "", new Date(0)), "", rules, variables);
    }

    private static Rule rule(Element e) {
        Element id = (Element) e.getElementsByTagName("id").item(0);
        String deferred = e.getAttribute("deferred");
        return Profiles.ruleFromValues(
            Profiles.ruleIdFromValues(PDFAFlavour.Specification.valueOf(id.getAttribute("specification")),
                id.getAttribute("clause"), Integer.parseInt(id.getAttribute("testNumber"))),
            e.getAttribute("object"), deferred.isEmpty() ? null : Boolean.valueOf(deferred), e.getAttribute("tags"),
            text(e, "description"), text(e, "test"), Profiles.errorFromValues(text(e, "message"), List.of()), List.of());
    }

    private static String text(Element e, String tag) {
        NodeList found = e.getElementsByTagName(tag);
        return found.getLength() == 0 ? "" : found.item(0).getTextContent().strip();
    }
}

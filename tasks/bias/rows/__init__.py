"""What is known of each row, and what is counted of many: evidence, groups, the table of counts, loops over rows."""

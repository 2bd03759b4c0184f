"""Exports: summary.json in the forms that other programs read. They hold nothing that it does not hold."""

from tasks.report.exports.cyclonedx import render_cyclonedx
from tasks.report.exports.model_card_json import render_model_card

__all__ = ["render_cyclonedx", "render_model_card"]

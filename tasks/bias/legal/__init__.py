"""Legal tables as functions of counts."""

"""Pages and tables that show what was found: the report, the gallery, their figures."""

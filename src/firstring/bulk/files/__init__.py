"""Files as they come: formats, rows, maps from columns to fields, rejects, progress."""

"""Files of any origin as rows: what can be read beyond doubt is read, all else is refused. Pure."""

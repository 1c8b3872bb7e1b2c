"""Where prices come from, a module each: Yahoo, folders of files, simulation."""

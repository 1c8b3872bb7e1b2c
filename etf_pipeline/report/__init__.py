"""Reports worth sending: one self-contained HTML file per portfolio, and one for the universe."""

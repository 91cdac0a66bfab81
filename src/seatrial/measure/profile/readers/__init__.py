"""One reader per profiler and layout; `chrome` is the door for Chrome JSON, `find` for folders."""

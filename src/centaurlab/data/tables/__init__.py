"""Tables of trials, as experiment software writes them, told as sessions by a template."""

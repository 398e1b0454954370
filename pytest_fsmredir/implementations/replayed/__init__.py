"""The implementation of a replay: it loads the rules and routes of a captured pod."""

"""Tags for words: named entities, parts of speech."""

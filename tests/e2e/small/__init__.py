"""The small task of the tests, declared so that the command line finds it, and variants of its declaration."""

"""A double of django-rest-knox, which Debian has not: its model, its digest, its authentication
class and its log-out view, with the names and the behaviour of release 5.1. With the real one
installed the tests use that."""

"""The laws that every method obeys, for genlab's methods and for anybody's."""

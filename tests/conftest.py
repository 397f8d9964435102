"""Property tests are judged by what they find, not by how long a shared machine takes."""

from hypothesis import settings

settings.register_profile("siltstone", deadline=None)
settings.load_profile("siltstone")

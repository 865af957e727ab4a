"""No routes: a test that wants some brings its own."""

urlpatterns = []

"""The routes of the project of these tests."""

urlpatterns = []

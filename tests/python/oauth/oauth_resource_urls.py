from django.urls import path

from oauth_urls import plain, ready, who

urlpatterns = [path("who/", who), path("plain/", plain), path("ready/", ready)]

from accounts import oauth
from accounts import views as accounts
from django.urls import include, path
from documents import views as documents
from pawl.simplejwt import views as tokens
from rest_framework.routers import SimpleRouter
from security.errors import plain
from security.requests import healthy
from security.throttles import RefreshThrottle

router = SimpleRouter()
router.register("documents", documents.DocumentViewSet, "document")
router.register("organisations", documents.OrganisationViewSet, "organisation")
router.register("products", documents.ProductViewSet, "product")
router.register("reviews", documents.ReviewViewSet, "review")
router.register("orders", documents.OrderViewSet, "order")
router.register("me/tokens", accounts.ServiceTokenViewSet, "service-token")

_slowly = {"throttle_classes": (RefreshThrottle,)}
urlpatterns = [
    path("auth/signup/", accounts.SignupView.as_view()),
    path("auth/login/", accounts.LoginView.as_view()),
    path("auth/refresh/", tokens.TokenRefreshView.as_view(**_slowly)),
    path("auth/verify/", tokens.TokenVerifyView.as_view(**_slowly)),
    path("auth/logout/", tokens.LogoutView.as_view(**_slowly)),
    path("auth/blacklist/", tokens.TokenBlacklistView.as_view(**_slowly)),
    path("auth/logout-everywhere/", accounts.LogoutEverywhereView.as_view()),
    path("auth/session/", accounts.browser_login),
    path("auth/session/end/", accounts.browser_logout),
    path("auth/email/", accounts.EmailChangeView.as_view()),
    path("auth/password/", accounts.PasswordChangeView.as_view()),
    path("auth/password/reset/", accounts.PasswordResetView.as_view()),
    path("auth/password/reset/confirm/", accounts.PasswordResetConfirmView.as_view()),
    path("auth/second-factor/", accounts.TotpSetupView.as_view()),
    path("auth/second-factor/verify/", accounts.TotpVerifyView.as_view()),
    path("me/", accounts.MeView.as_view()),
    path("users/<uuid:pk>/", accounts.PersonView.as_view()),
    path("users/<uuid:pk>/disable/", accounts.AccountDisableView.as_view()),
    path("contact/", documents.contact),
    path("webhooks/incoming/", documents.webhook),
    path("oauth/", include((oauth.urlpatterns, "oauth2_provider"))),
    path("healthz", healthy),
    path("", include(router.urls)),
]

handler400 = plain(400)
handler403 = plain(403)
handler404 = plain(404)
handler500 = plain(500)

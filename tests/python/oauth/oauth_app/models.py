from pawl.tokens.opaque import OpaqueTokenAuthentication, OpaqueTokenMixin


class ApiToken(OpaqueTokenMixin):
    pass


class ApiTokenAuthentication(OpaqueTokenAuthentication):
    model = ApiToken

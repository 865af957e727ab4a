"""A key function that is named by its path."""


def tenant(group, request):
    return f"tenant-of-{request.method.lower()}"

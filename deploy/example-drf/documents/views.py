"""The API proper. Every list shows only what the caller may see."""

import json
import uuid

from accounts import totp
from accounts.models import User
from django.db import transaction
from django.db.models import Q
from django.http import FileResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from guardian.shortcuts import assign_perm, get_objects_for_user, remove_perm
from pawl.django.decorators import ratelimit
from rest_framework import generics, mixins, status, viewsets
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.response import Response
from security import throttles

from . import permissions, serializers
from .models import Document, Order, Product, Review
from .permissions import (HasGrant, HasScopes, IsAdminOrOwner, IsFirstParty, IsKnown,
                          IsOrganisationMember, IsOwner, IsOwnerOrReadOnly, IsPerson, IsReading)

GRANTS = ("view_document", "change_document", "delete_document")


class DocumentViewSet(viewsets.ModelViewSet):
    """Documents of the caller, of the caller's organisations, and shared ones. 100 an hour, 1000
    with a plan."""

    serializer_class = serializers.DocumentSerializer
    throttle_classes = (throttles.PremiumThrottle, throttles.DefaultThrottle,
                        throttles.BurstThrottle, throttles.SustainedThrottle)

    def get_permissions(self):
        kinds = [IsPerson(), HasScopes()]
        if self.action in ("share", "destroy"):
            kinds += [IsFirstParty(), IsAdminOrOwner()]
        elif self.request.method in permissions.SAFE_METHODS:
            kinds.append((HasGrant | IsOrganisationMember | IsAdminOrOwner)())
        else:
            kinds.append(HasGrant())
        return kinds

    def get_queryset(self):
        user = self.request.user
        if user.is_staff:
            return Document.objects.select_related("owner")
        granted = get_objects_for_user(user, "documents.view_document", Document)
        return Document.objects.filter(
            Q(pk__in=granted.values("pk")) | Q(organisation__members=user)
        ).select_related("owner").distinct()

    @transaction.atomic
    def perform_create(self, serializer):
        document = serializer.save(owner=self.request.user)
        for grant in GRANTS:
            assign_perm(grant, self.request.user, document)

    def perform_destroy(self, document):
        totp.require(self.request, always=False)
        document.file.delete(save=False)
        document.delete()

    @action(detail=True, methods=["get", "put"], parser_classes=[MultiPartParser])
    def file(self, request, pk=None):
        document = self.get_object()
        if request.method == "GET":
            if not document.file:
                raise NotFound()
            # Never shown by the browser in our origin: always a download with a name of ours.
            return FileResponse(document.file.open(), as_attachment=True,
                                filename=str(document.pk), content_type=document.file_type)
        data = serializers.UploadSerializer(data=request.data, context={"request": request})
        data.is_valid(raise_exception=True)
        upload = data.validated_data["file"]
        document.file.delete(save=False)
        document.file_type = data.context["file_type"]
        document.file.save(str(uuid.uuid4()), upload)  # the name outside is not the one on disk
        return Response(self.get_serializer(document).data)

    @action(detail=True, methods=["post", "delete"])
    def share(self, request, pk=None):
        document = self.get_object()
        data = serializers.ShareSerializer(data=request.data)
        data.is_valid(raise_exception=True)
        user = generics.get_object_or_404(User, pk=data.validated_data["user"], is_active=True)
        if user.pk == document.owner_id:
            raise ValidationError({"user": ["It is theirs."]})
        change = remove_perm if request.method == "DELETE" else assign_perm
        change("view_document", user, document)
        if data.validated_data["may_change"] or request.method == "DELETE":
            change("change_document", user, document)
        return Response(status=status.HTTP_204_NO_CONTENT)


class OrganisationViewSet(mixins.ListModelMixin, mixins.CreateModelMixin,
                          viewsets.GenericViewSet):
    """The caller's organisations; managers make new ones."""

    serializer_class = serializers.OrganisationSerializer

    def get_permissions(self):
        kinds = super().get_permissions()
        if self.action == "create":
            kinds.append(permissions.has_role("manager")())
        return kinds

    def get_queryset(self):
        return self.request.user.organisations.order_by("name")

    def perform_create(self, serializer):
        serializer.save().members.add(self.request.user)


class ProductViewSet(viewsets.ModelViewSet):
    """Everybody with the scope reads, services too; editors write."""

    queryset = Product.objects.all()
    serializer_class = serializers.ProductSerializer
    scope_name = "products"

    def get_permissions(self):
        kinds = [IsKnown(), HasScopes()]
        if self.request.method not in permissions.SAFE_METHODS:
            kinds.append((permissions.IsService | permissions.has_role("editor"))())
        return kinds


class ReviewViewSet(viewsets.ModelViewSet):
    """Everybody reads, strangers too: 100 an hour for an address."""

    queryset = Review.objects.all()
    serializer_class = serializers.ReviewSerializer
    permission_classes = (IsPerson | IsReading, HasScopes, IsOwnerOrReadOnly)

    def perform_create(self, serializer):
        serializer.save(owner=self.request.user)


class OrderViewSet(mixins.CreateModelMixin, mixins.ListModelMixin, mixins.RetrieveModelMixin,
                   viewsets.GenericViewSet):
    serializer_class = serializers.OrderSerializer
    permission_classes = (IsPerson, HasScopes, IsOwner)
    scope_name = "orders"

    def get_queryset(self):
        return Order.objects.filter(owner=self.request.user)

    def perform_create(self, serializer):
        serializer.save(owner=self.request.user)


@csrf_exempt  # no cookie is looked at
@require_POST
@ratelimit("5/m", key="ip", scope="contact", method="POST")
def contact(request):
    """A plain Django view: five messages a minute from one address."""
    return JsonResponse({"detail": "Thank you."}, status=202)


@csrf_exempt
@require_POST
@ratelimit("5/m", key="ip", scope="webhook", method="POST", block=False)
def webhook(request):
    """The one path that pages of any origin may call: nothing here trusts a cookie. What comes too
    fast is not refused, it waits in a slower queue."""
    try:
        event = json.loads(request.body)
    except ValueError:
        return JsonResponse({"detail": "This is no JSON."}, status=400)
    known = isinstance(event, dict) and isinstance(event.get("event"), str)
    if not known:
        return JsonResponse({"detail": "An object with an event is wanted."}, status=400)
    return JsonResponse({"queue": "slow" if request.limited else "fast"}, status=202)

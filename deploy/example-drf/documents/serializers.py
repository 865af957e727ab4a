from accounts.serializers import PersonSerializer
from rest_framework import serializers
from security.audit import suspicious

from . import content
from .models import Document, Order, Organisation, Product, Review


def clean(serializer, text):
    """Text with allowed tags alone; that something was taken out is logged."""
    cleaned, dropped = content.clean_html(text)
    if dropped:
        suspicious(serializer.context["request"], "html")
    return cleaned


class DocumentSerializer(serializers.ModelSerializer):
    owner = PersonSerializer(read_only=True)
    has_file = serializers.SerializerMethodField()

    class Meta:
        model = Document
        fields = ["id", "owner", "organisation", "title", "body", "has_file", "file_type",
                  "created_at", "updated_at"]
        read_only_fields = ["id", "file_type", "created_at", "updated_at"]

    def get_has_file(self, document):
        return bool(document.file)

    def validate_title(self, value):
        return clean(self, value)

    def validate_body(self, value):
        return clean(self, value)

    def validate_organisation(self, value):
        user = self.context["request"].user
        if value is not None and not value.members.filter(pk=user.pk).exists():
            # The same words as for one that there is not.
            raise serializers.ValidationError(f'Invalid pk "{value.pk}" - object does not exist.',
                                              "does_not_exist")
        return value

    def validate(self, data):
        title, body = data.get("title"), data.get("body")
        if title and body and title.strip() == body.strip():
            raise serializers.ValidationError("The body only repeats the title.")
        return data


class UploadSerializer(serializers.Serializer):
    file = serializers.FileField(max_length=120)

    def validate_file(self, value):
        self.context["file_type"] = content.check_upload(value, self.context["request"])
        return value


class ShareSerializer(serializers.Serializer):
    user = serializers.UUIDField()
    may_change = serializers.BooleanField(default=False)


class OrganisationSerializer(serializers.ModelSerializer):
    class Meta:
        model = Organisation
        fields = ["id", "name"]
        read_only_fields = ["id"]


class ProductSerializer(serializers.ModelSerializer):
    class Meta:
        model = Product
        fields = ["id", "name", "price_cents"]
        read_only_fields = ["id"]


class ReviewSerializer(serializers.ModelSerializer):
    class Meta:
        model = Review
        fields = ["id", "product", "stars", "text", "created_at"]
        read_only_fields = ["id", "created_at"]

    def validate_text(self, value):
        return clean(self, value)


class OrderSerializer(serializers.ModelSerializer):
    class Meta:
        model = Order
        fields = ["id", "product", "quantity", "created_at"]
        read_only_fields = ["id", "created_at"]

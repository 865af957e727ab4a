"""What may come in: a little HTML, and files that are what they say."""

import html
import pathlib
import zipfile

import bleach
import magic
from django.conf import settings
from rest_framework.exceptions import ValidationError
from security.audit import suspicious

TAGS = ["a", "b", "blockquote", "br", "code", "em", "h2", "h3", "i", "li", "ol", "p", "pre",
        "strong", "ul"]
ATTRIBUTES = {"a": ["href", "title"]}
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
#: By extension, what the first bytes of the file have to be.
TYPES = {
    ".pdf": {"application/pdf"},
    ".txt": {"text/plain"},
    ".docx": {DOCX, "application/zip"},
}


def clean_html(text):
    """(cleaned, dropped): the text with tags of the list alone, what else was a tag is text now;
    and whether there was such a tag or attribute, rather than a mere "<"."""
    cleaned = bleach.clean(text, tags=TAGS, attributes=ATTRIBUTES, protocols=["https", "mailto"])
    stripped = bleach.clean(text, tags=TAGS, attributes=ATTRIBUTES, protocols=["https", "mailto"],
                            strip=True)
    kept = len(html.unescape(cleaned)) == len(html.unescape(text))
    return cleaned, stripped != cleaned or not kept


def check_upload(file, request=None):
    """The type of the file by its content. Raises ValidationError with a code."""
    if file.size > settings.UPLOAD_MAX_BYTES:
        raise ValidationError("At most 5 MB.", "file_too_big")
    extension = pathlib.PurePath(file.name).suffix.lower()
    if extension not in TYPES:
        raise ValidationError("A pdf, docx or txt.", "file_type")
    found = magic.from_buffer(file.read(8192), mime=True)
    file.seek(0)
    if found not in TYPES[extension] or extension == ".docx" and not _is_docx(file):
        suspicious(request, "file_type", claimed=extension[1:], found=found)
        raise ValidationError(f"The content is not that of a {extension[1:]}.", "file_type")
    return DOCX if extension == ".docx" else found


def _is_docx(file):
    """A zip with Word's main part in it, and without macros; nothing is unpacked."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
    finally:
        file.seek(0)
    return "word/document.xml" in names and not any(
        name.endswith("vbaProject.bin") for name in names)

"""What comes in: fields, files, HTML, sizes."""

import io
import zipfile

import pytest
from conftest import EXAMPLE, PASSWORD


def signup(api, **changed):
    form = {"username": "new", "email": "new@example.org", "phone": "+491701234567",
            "password": PASSWORD, **changed}
    return api.ask("POST", "/auth/signup/", form)


# ---- validation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("field, value", [
    ("phone", "0170 1234567"), ("phone", "+49"), ("phone", "+491701234567\n1"),
    ("email", "nobody"), ("password", "short"), ("password", "password1234"),
    ("username", ""), ("username", "a b"), ("username", "x" * 151)])
def test_a_field_that_is_wrong_is_named(api, field, value):
    answer = signup(api, **{field: value})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert list(answer.json()["fields"]) == [field]


def test_a_name_and_an_address_have_one_account(api):
    assert signup(api).status_code == 201
    assert "username" in signup(api, email="other@example.org").json()["fields"]
    assert "email" in signup(api, username="other", email="NEW@example.org").json()["fields"]


def test_an_address_taken_at_the_same_moment_is_no_error_of_ours(api, monkeypatch):
    from accounts.serializers import SignupSerializer

    monkeypatch.setattr(SignupSerializer, "validate_email", lambda self, value: value)
    assert signup(api).status_code == 201
    answer = signup(api, username="other")
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["email"])


def test_an_address_that_another_has_is_not_taken_over(api):
    access = api.bearer("anna")
    api.person("bert")
    def change(email):
        return api.ask("POST", "/auth/email/", {"email": email, "password": PASSWORD}, access)
    answer = change("bert@example.org")
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["email"])
    assert change("anna@example.org").status_code == 204


def test_the_whole_object_has_rules_too(api):
    access = api.bearer()
    answer = api.ask("POST", "/documents/", {"title": "same", "body": "same"}, access)
    assert list(answer.json()["fields"]) == ["non_field_errors"]
    changed = {"old_password": PASSWORD, "new_password": PASSWORD}
    assert "new_password" in api.ask("POST", "/auth/password/", changed, access).json()["fields"]


def test_fields_that_are_not_for_the_caller_are_not_taken(api):
    from accounts.models import User
    from documents.models import Document

    answer = signup(api, is_staff=True, is_superuser=True, is_premium=True, id="0" * 32)
    user = User.objects.get(pk=answer.json()["id"])
    assert not (user.is_staff or user.is_superuser or user.is_premium)
    access = api.access("new")
    api.ask("PATCH", "/me/", {"is_premium": True, "is_staff": True, "email": "x@example.org",
                              "username": "root"}, access)
    user.refresh_from_db()
    assert not (user.is_staff or user.is_premium)
    assert (user.username, user.email) == ("new", "new@example.org")
    other = api.person("other")
    made = api.document(access, owner=str(other.pk), file_type="text/html")
    assert Document.objects.get(pk=made["id"]).owner == user
    assert made["file_type"] == ""


# ---- uploads ------------------------------------------------------------------------------------


def docx(*names):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in ("[Content_Types].xml", *names):
            archive.writestr(name, "<x/>")
    return stream.getvalue()


WORD = docx("word/document.xml")


def put(api, access, name, content):
    path = f"/documents/{api.document(access)['id']}/file/"
    return path, api.ask("PUT", path, bearer=access, upload=(name, content))


@pytest.mark.parametrize("name, content, kind", [
    ("a.pdf", b"%PDF-1.4\n%%EOF\n", "application/pdf"),
    ("a.txt", b"plain words\n", "text/plain"),
    ("a.DOCX", WORD, "application/vnd.openxmlformats-officedocument.wordprocessingml.document")],
    ids=["pdf", "txt", "docx"])
def test_a_pdf_a_docx_and_a_text_are_taken_and_come_back_as_downloads(api, name, content, kind):
    access = api.bearer()
    path, answer = put(api, access, name, content)
    assert (answer.status_code, answer.json()["file_type"]) == (200, kind)
    back = api.ask("GET", path, bearer=access)
    assert b"".join(back.streaming_content) == content
    assert back["Content-Type"] == kind
    assert back["Content-Disposition"].startswith("attachment")
    assert back["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("name, content", [
    ("a.pdf", b"MZ" + bytes(100)), ("a.txt", b"%PDF-1.4\n"), ("a.docx", docx("evil.exe")),
    ("a.docx", docx("word/document.xml", "word/vbaProject.bin")), ("a.docx", b"PK\x03\x04"),
    ("a.exe", b"MZ"), ("a", b"words"), ("a.pdf.html", b"<script>")], ids=[
        "program", "pdf-as-txt", "zip-as-docx", "macros", "torn-zip", "exe", "no-extension",
        "html"])
def test_a_file_that_is_not_what_it_says_is_refused(api, name, content):
    answer = put(api, api.bearer(), name, content)[1]
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["file"])


def test_a_file_has_at_most_five_megabytes(api):
    access = api.bearer()
    limit = 5 * 1024 * 1024
    assert put(api, access, "a.txt", b"a" * limit)[1].status_code == 200
    assert put(api, access, "a.txt", b"a" * (limit + 1))[1].status_code == 400


def test_the_name_of_an_upload_is_not_the_name_on_disk(api):
    from documents.models import Document

    access = api.bearer()
    assert put(api, access, "../../../etc/passwd.txt", b"words")[1].status_code == 200
    stored = Document.objects.get().file.name
    assert stored.startswith("documents/") and "passwd" not in stored and ".." not in stored


# ---- HTML ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("given, kept", [
    ("<p>hello <b>you</b></p>", "<p>hello <b>you</b></p>"),
    ('<a href="https://example.org">x</a>', '<a href="https://example.org">x</a>'),
    ("<script>steal()</script>", "&lt;script&gt;steal()&lt;/script&gt;"),
    ('<p onclick="x()">a</p>', "<p>a</p>"),
    ('<a href="javascript:x()">a</a>', "<a>a</a>"),
    ("<img src=x onerror=x()>", "&lt;img src=x onerror=x()&gt;")])
def test_html_is_cleaned_by_an_allow_list(api, given, kept):
    access = api.bearer()
    assert api.document(access, body=given)["body"] == kept


def test_a_title_is_cleaned_too(api):
    assert "<script" not in api.document(api.bearer(), title="<script>x</script>")["title"]


# ---- sizes --------------------------------------------------------------------------------------


def nested(depth):
    return b'{"title": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize("depth, code", [(16, "invalid"), (17, "body_too_deep"),
                                         (400_000, "body_too_deep")])
def test_json_is_nested_sixteen_deep_and_no_deeper(api, depth, code):
    answer = api.ask("POST", "/documents/", nested(depth), api.bearer())
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_a_body_has_at_most_a_megabyte(api):
    access = api.bearer()
    answer = api.ask("POST", "/documents/", b'{"title": "' + b"a" * 1024 * 1024 + b'"}', access)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_long")
    plain = api.ask("POST", "/webhooks/incoming/", b"a" * (1024 * 1024 + 1))
    assert plain.status_code in (400, 413)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b"\xff\xfe", b"1"], ids=[
    "nothing", "torn", "list", "text", "null", "no-utf8", "number"])
def test_a_body_that_is_no_object_is_400_and_never_500(api, body):
    for path in ("/auth/login/", "/auth/signup/", "/auth/refresh/"):
        assert api.status("POST", path, body) == 400, (path, body)


def test_an_endless_upload_is_refused_before_it_is_read(api):
    from django.test import Client

    answer = Client().generic("POST", "/auth/session/", b"", "multipart/form-data; boundary=x",
                              CONTENT_LENGTH=str(6 * 1024 * 1024))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_long")


# ---- SQL ----------------------------------------------------------------------------------------


def test_no_sql_is_written_by_hand(api):
    for path in EXAMPLE.rglob("*.py"):
        text = path.read_text("utf-8")
        for word in (".raw(", "RawSQL", "cursor(", ".extra("):
            assert word not in text or path.name == "test_input.py", f"{path.name}: {word}"


def test_quotes_in_what_comes_in_are_text(api):
    access = api.bearer()
    evil = "x'); DROP TABLE documents_document; --"
    assert api.document(access, title=evil)["title"] == evil
    assert api.login(evil).status_code == 401

import binascii
import hashlib


def hash_token(token):
    return hashlib.sha512(binascii.unhexlify(token.encode())).hexdigest()

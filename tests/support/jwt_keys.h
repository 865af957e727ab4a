/*
 * Keys for tests, made for them and of no use elsewhere: fixed, so that a seeded run is the same
 * everywhere.
 */
#ifndef PAWL_TESTS_JWT_KEYS_H
#define PAWL_TESTS_JWT_KEYS_H

/* RSA, 2048 bits, private */
static const char jwt_private_rsa[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQCw3pP1WV41ahvF\n"
    "B3nW9FwzByQ9+O+HWAs6HyXU/MD0iYDDrqHOb3t3iB/EQ5YPiCBumptiioDqdOaO\n"
    "xYELi9ATLOhILyKybWX83Xj1ARuZcHjuOW0AMQVy5xuunSnrD56ixpGqwcPdMJ8N\n"
    "wRBY73kK8UUFUOCAN2urM/dFtyVBMoqEf9RnAzmX3Ujf6fdu1Kry+w3ri/AGIRge\n"
    "x7Y6qG+lT97cBgvwhNMOUuAXpb7hHSnKxM60JVJr1xerfFqisEXn4KcQWKtsnRef\n"
    "R2+s9NZeZr0HzRM0bEvEWCL6tmYJh6HBFuu23gNIHagklFV3eK6ocDkS8JOK2z/7\n"
    "yLowxasBAgMBAAECggEAAn4ejHOGGv9b9RTIBC4lMwBno7pziL8mSFtKRZRK1V9v\n"
    "OcLHK8FBNpPr67COp7khyOFDrZm5W6SKX8p7iTm/FNgaDXNhnC1jxbKq2twZQxo1\n"
    "UBkt1rX6J06HwrgbEEGj+RQOlz8cFyzRXwigpfo5BN0V3Y9wXIo7aZolwt0kCKVL\n"
    "UTE+BWWQfVFbjggZvaLF3CJgm3pgexfLjXbXy+e2d3CqLEdemDLWEr0hyJdhsHkR\n"
    "pgktq8bhmNTYshh02tFGnFXJYKgJw6bYbYVvIjiNRvpDLMyarI5mOyLbDC/UJ29e\n"
    "7Pyr0FxAr7dYRZY8Pb0XgmgADaJJK7YWmhPlwln+GQKBgQDitfvvGEH6hO3X2wKK\n"
    "ODed/7ff+en6db0APEsYDrocE/gA4TiEDib+vCXzvBVR7hg81ZDQF253hs1X7lKV\n"
    "4OBlN7N613GlIYcZilRBPmFKCVajIfPfm5MMHdVqw0Ufd+aZcWjGIyVZZ2X7xd1F\n"
    "e8g4qzTBmJ6VFk8iZT3WUIeeaQKBgQDHuC/I/3X97/NSj7AXMNvC3jN8syuM3zQj\n"
    "LT9TcMUq9G3nw/sgIozfa+4Rrc2IZQmI1hHPkz3NSgMxf4Utw0P/JWDFaJBua+Zm\n"
    "wABWrrCDSA9DEzEs5oobS/2yazzvU4BvNwUhB5gVUu/fY1Ivn0y//mhYOXkGY9hs\n"
    "ZYS700jE2QKBgQC5kPHtC7L9po6zz00t68QCbIyKJRqSaorQRYnF4FAPqXym47KJ\n"
    "zLe4bDK4ZSwiSrvGF50X5wYBifJMVgN9MHsb/lLHas9XtbDKhAJhAPlLS4eBscnX\n"
    "LpVXJphIchsDHfY/hKeY/q2Ul2DPi26JcD87u09MY2ryZzdQ1QOfh3zqeQKBgQCS\n"
    "OllCYUiS1Mzi9jGHyU4eL3KjKswIKKST3N0wyrCR8sVFnEiSDrn2G6ADca26379L\n"
    "YPFJehUV6crMwwFPsFhox4VDBHw7XOUk9g9JaD304R3LjpHCvkkAE3N83ueOkyTG\n"
    "SRKITHcdpcvbU20pUQlwyWS8s9fYxeH/+5RjsR7mgQKBgHiBJed8f2xwToiXBDTX\n"
    "msYEXtJPst6IEd2X5QfepYVkXPEjRiFAq3Cdd5IIajv7WV80YM224ge4K3zsr8Sf\n"
    "vVvcegNr2U/aITN5MLuH4go9t9E9cKILY+8sat146KI/3JBDm8XqTWQpQMYwgjF/\n"
    "/ERc8tAhkx3H1gzKeZM+b1Oq\n"
    "-----END PRIVATE KEY-----\n";

/* RSA, 2048 bits, public */
static const char jwt_public_rsa[] __attribute__((unused)) =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAsN6T9VleNWobxQd51vRc\n"
    "MwckPfjvh1gLOh8l1PzA9ImAw66hzm97d4gfxEOWD4ggbpqbYoqA6nTmjsWBC4vQ\n"
    "EyzoSC8ism1l/N149QEbmXB47jltADEFcucbrp0p6w+eosaRqsHD3TCfDcEQWO95\n"
    "CvFFBVDggDdrqzP3RbclQTKKhH/UZwM5l91I3+n3btSq8vsN64vwBiEYHse2Oqhv\n"
    "pU/e3AYL8ITTDlLgF6W+4R0pysTOtCVSa9cXq3xaorBF5+CnEFirbJ0Xn0dvrPTW\n"
    "Xma9B80TNGxLxFgi+rZmCYehwRbrtt4DSB2oJJRVd3iuqHA5EvCTits/+8i6MMWr\n"
    "AQIDAQAB\n"
    "-----END PUBLIC KEY-----\n";

/* another one, private */
static const char jwt_private_rsa2[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQC484bx80kvlnP/\n"
    "oT3xGQdgrLXN5ZpoSIQhmDnOLj/Hdo2zvBsN9bPaFiVE3+/eYuxSvs4qv4DqwgLR\n"
    "mkdGnR8K4vdUsAzYl0NMNoLDeGqU2zLNT3lzWNyr53JgjA++hdZLq+PziBxHqLhV\n"
    "k6kz995br/3MX9lcFSr/yMxIy9HIcHyHKeUPyRNRYL96bqaBxiscswZTGpskfv9r\n"
    "FHq+I4P7sZ4f9jBpZiO2vgtyhjjSxDd8MHj2kQ76l0RicuZ4g8omGNGDb6wVZSuR\n"
    "ZX3WTp1ciQCl7bBLUXsKZt42jq1MIyCfLvxQcck1sdP2MC34FIFNeNIO6xK2pvPm\n"
    "C9r8sqi/AgMBAAECggEARG7PGo0TIkmACDDoE2JYaXveFR4EgNt8EFYb5V8VeD80\n"
    "dTF/rS2ha2tQROi6/0UI/iDdddG/6Jz6oAV+o/EVAFk0fKBbUHS/kN6Gib7vaL6m\n"
    "UHM8k+JoXC7aEkEgvjUVMpCaWoydMiKKeheVvsXS/4fh15ILgdfPPi9U7waDS685\n"
    "jUcuxL+FOTDk9rNpDDNasC2aSmEeCzOP66Nc4OBPUQWc65J91/QUwNWOvfSvnVbp\n"
    "QscUvaOXuTBsqwZluqSeDKwNCCHstVMHPH3U9YzlcNJ3m+znSfQ7KPJom8l+zAYY\n"
    "OSO+KXrg9VfCqY2lM73UESB8jhFCB+NnuUSZB1Qb6QKBgQDvroNp6hlT9uc1w+SM\n"
    "ZzpFm2Jfm6rAKpgzRiFvNmBi1KW6JbESz5lbqAjkRganklc0WFABkXg0xu72lIXa\n"
    "6Rzo7Bwo348BAVj/RqBbK85PhX75Bu3yRusYBpBEOItJLmfbgqvIoupLRkFNEEKw\n"
    "6FC5TgG0O7CD7HjerrPdWF8vlQKBgQDFixmzfcsXO+vROzpopyRlQF1N5kkC3kRi\n"
    "mj8qxuRUZLNsHtia4Ku4OP8JTWEX7cS5pQd65yA09Acr/uZawmZVhVe9AL/Lhz/z\n"
    "KXN17RYppzH5MiZGBrpDE+kqaWui+njKAIwI9hk9N7zgSDjQ9zKvnISZ8IQmiVgS\n"
    "nK2jQKIyAwKBgH08rqX1EG7zIDTTuuQyPByK6IgUitAGcai5CFdYDl0Vx9LQRwoR\n"
    "N4zQ7HR6spd0u+Q6EPQA0tKg79QgHyEXlWePl9czmUFpNtuMR9Xbud2LX6E3obVq\n"
    "oQTYySEceosumE32pVQc7FeQyiY+TNqrSSLKQ9GtLrqAIVgZ6RnLR1FRAoGAX89p\n"
    "db7rQ6eSZnadi6iVZG5lUqUAgF2hOVmqjWrNz4jP5P7I+8VARCeQushG8T4nDgtW\n"
    "p2t2GXjKCbKlsxtaWtxDg63bWDGO+LcAAxAskaM//6ctHQWiTWpYynM6+18UOpUt\n"
    "ViNWdnSULQuaUu+yK650Od2HmtE+YDiRlv6ALFUCgYBtO5RIJLQaOpnc9O+7qW3t\n"
    "7dATfXyGOz/u9mIkdJfV4t/eXZgyoizM6VuUN2ISxmpjYtGpLXRcrG1thmF5X8Ce\n"
    "vmiziPrl9jJ5FOiOC83OoZRQqtc3yaQaRqHj+pVJvOeZw91CwEieuJ5+zQ28tK3g\n"
    "bmTRJIlWUnaoVWkB2DdFxg==\n"
    "-----END PRIVATE KEY-----\n";

/* another one, public */
static const char jwt_public_rsa2[] __attribute__((unused)) =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAuPOG8fNJL5Zz/6E98RkH\n"
    "YKy1zeWaaEiEIZg5zi4/x3aNs7wbDfWz2hYlRN/v3mLsUr7OKr+A6sIC0ZpHRp0f\n"
    "CuL3VLAM2JdDTDaCw3hqlNsyzU95c1jcq+dyYIwPvoXWS6vj84gcR6i4VZOpM/fe\n"
    "W6/9zF/ZXBUq/8jMSMvRyHB8hynlD8kTUWC/em6mgcYrHLMGUxqbJH7/axR6viOD\n"
    "+7GeH/YwaWYjtr4LcoY40sQ3fDB49pEO+pdEYnLmeIPKJhjRg2+sFWUrkWV91k6d\n"
    "XIkApe2wS1F7CmbeNo6tTCMgny78UHHJNbHT9jAt+BSBTXjSDusStqbz5gva/LKo\n"
    "vwIDAQAB\n"
    "-----END PUBLIC KEY-----\n";

/* P-256, private */
static const char jwt_private_ec256[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg9up1HtdfISJD2Sc+\n"
    "JcQx8DQTsmAh5avkHU6IdxFP2H2hRANCAATZjAQNpjMvBzvqqRHFGXhF3kyjAsGl\n"
    "NRS1PRiQ5/Uh8LXB+gesjkoBZhmUY+iAoHgMjo2T8XuFkOXanvi1iEmv\n"
    "-----END PRIVATE KEY-----\n";

/* P-256, public */
static const char jwt_public_ec256[] __attribute__((unused)) =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2YwEDaYzLwc76qkRxRl4Rd5MowLB\n"
    "pTUUtT0YkOf1IfC1wfoHrI5KAWYZlGPogKB4DI6Nk/F7hZDl2p74tYhJrw==\n"
    "-----END PUBLIC KEY-----\n";

/* P-384, private */
static const char jwt_private_ec384[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDBB+/qtLFebkC5eolfz\n"
    "tA2Wp+LCdfaZEcLKq5Gek/GXxBsfj1vUJoD/vhV3kV6cuc+hZANiAAS8jJYH1UIs\n"
    "4lHFG1Bl9oethsCd58r5cowJqqBDo6LaZ9ugxldEW5nParr183H7mmYA01uvR9dG\n"
    "2Vg5ggObtwjt+BX7KSnf4ojlI4N2B0c+MsDrUQ30dowD0LoscyIVu6Q=\n"
    "-----END PRIVATE KEY-----\n";

/* P-384, public */
static const char jwt_public_ec384[] __attribute__((unused)) =
    "-----BEGIN PUBLIC KEY-----\n"
    "MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEvIyWB9VCLOJRxRtQZfaHrYbAnefK+XKM\n"
    "CaqgQ6Oi2mfboMZXRFuZz2q69fNx+5pmANNbr0fXRtlYOYIDm7cI7fgV+ykp3+KI\n"
    "5SODdgdHPjLA61EN9HaMA9C6LHMiFbuk\n"
    "-----END PUBLIC KEY-----\n";

/* P-521, private */
static const char jwt_private_ec521[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIABqVSdCbAW8VY9ZOl\n"
    "dPnDqfvHotjejmHTjC1Z73jUG95bb0nO4t8ZXsJmDjyqVMc83muhfg+f24tFsx4G\n"
    "M8DIPHChgYkDgYYABAErLubpiittgJvb0AY8B+/vy6OrooKHwGgesHyju9maumaZ\n"
    "v1NAJcc0pKkhNjDqvTjYVdZmbZUvTHEUP/H7JjZ6wQG+2skvCWnRAYr9k8Fx8L7o\n"
    "ERx39d4vp6ugwMsb99FYJjRTR3quaLyKS5yWBZiSy7nXc2S5TRGiYqkcS6mDZSdJ\n"
    "ig==\n"
    "-----END PRIVATE KEY-----\n";

/* P-521, public */
static const char jwt_public_ec521[] __attribute__((unused)) =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBKy7m6YorbYCb29AGPAfv78ujq6KC\n"
    "h8BoHrB8o7vZmrpmmb9TQCXHNKSpITYw6r042FXWZm2VL0xxFD/x+yY2esEBvtrJ\n"
    "Lwlp0QGK/ZPBcfC+6BEcd/XeL6eroMDLG/fRWCY0U0d6rmi8ikuclgWYksu513Nk\n"
    "uU0RomKpHEupg2UnSYo=\n"
    "-----END PUBLIC KEY-----\n";

/* Ed25519, private */
static const char jwt_private_ed[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MC4CAQAwBQYDK2VwBCIEIAm77Zv3Su71PpuDPSvwwoXT+lOFUV4thPZoNE5ChmUs\n"
    "-----END PRIVATE KEY-----\n";

/* Ed25519, public */
static const char jwt_public_ed[] __attribute__((unused)) =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VwAyEAhcLLpfYRg+RSl2o683MM309j7ICc8fqtuVVlqj8aKHs=\n"
    "-----END PUBLIC KEY-----\n";

/* RSA, 1024 bits */
static const char jwt_public_short[] __attribute__((unused)) =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDJf5PTfrL119SGdEEJUW1Q8t4g\n"
    "JzlnAW6K+avQdUcmahV7nE3rXLfdw0rAwJwX8P6yjYkg6ysl9h3bykWZ/KgFR2Dr\n"
    "rzt5FnjMLtvCZ0sViOA4F7N35PkbESEAfhQHgDF3u4qJJVNazubUGLKtNo5C4Ug6\n"
    "t/XdidByFZez/iNvLQIDAQAB\n"
    "-----END PUBLIC KEY-----\n";

/* RSA with exponent 3 */
static const char jwt_public_e3[] __attribute__((unused)) =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIIBIDANBgkqhkiG9w0BAQEFAAOCAQ0AMIIBCAKCAQEAtQFWgH43kodKj3D8S/Aw\n"
    "MgWu/wCAhM0sFn6ZMhpvLbIlaIllXzjb69mEEoMVDfAL1jl3DMTQW8w2VChsSehA\n"
    "vZkJWMboBqWnWSL5EvdzQINbboKHQ8BnBHOjxHJ+RlPurDeWxXTL91ePmTiJdmLh\n"
    "JuuR28v80I4Nrs8/S6KD/oc/jHbyUsm9T9buwsAgYRNclYuDEPojN7sweL679/WW\n"
    "zQXWI3KdUOjV3Sdq1+OKi/cJxWB3AmLMaj6+4WQCbx+4GxHrCss/ZOIFtGvHZR7b\n"
    "m0u77mrehF+b/qJ7h72elnW1NUIZKpCMk0BrsxF69W/Sh8xJPl/L9efBMu7mV9Ta\n"
    "PwIBAw==\n"
    "-----END PUBLIC KEY-----\n";

/* secp256k1 */
static const char jwt_public_k1[] __attribute__((unused)) =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAExzxEJO0+tqzPGtOGjIiNu2OY+rcGX/RA\n"
    "Doyz9O4yE7fObqtD6pv/55Ix7GeJKg6mXBERhCH1DP9kyUf08Nladg==\n"
    "-----END PUBLIC KEY-----\n";

/* P-256 spelled out */
static const char jwt_public_explicit[] __attribute__((unused)) =
    "-----BEGIN PUBLIC KEY-----\n"
    "MIIBSzCCAQMGByqGSM49AgEwgfcCAQEwLAYHKoZIzj0BAQIhAP////8AAAABAAAA\n"
    "AAAAAAAAAAAA////////////////MFsEIP////8AAAABAAAAAAAAAAAAAAAA////\n"
    "///////////8BCBaxjXYqjqT57PrvVV2mIa8ZR0GsMxTsPY7zjw+J9JgSwMVAMSd\n"
    "NgiG5wSTamZ44ROdJreBn36QBEEEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5\n"
    "RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9QIhAP////8AAAAA\n"
    "//////////+85vqtpxeehPO5ysL8YyVRAgEBA0IABMHkMIe1FL+JbGoZl8w8oH9n\n"
    "it/k9UHCRo+SqDBcLQWvETEZt43yL3VPeqdgZD+S1y9faM4O+PD9Sf1kluuJpLk=\n"
    "-----END PUBLIC KEY-----\n";

/* X25519 */
static const char jwt_public_x25519[] __attribute__((unused)) =
    "-----BEGIN PUBLIC KEY-----\n"
    "MCowBQYDK2VuAyEAnQTh1CImMNkfot/0729V00Rg+IgWAPK0vLr58ifQ/F4=\n"
    "-----END PUBLIC KEY-----\n";

#endif

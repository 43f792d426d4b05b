# commands/mail-test.sh: send one mail as the site would, and show what the mail server says.
# usage: sh run.sh [-0|-1|-2] mail-test ADDRESS
#
# In production the mail goes to the server in EMAIL_URL. Passwords are not shown. In development the starter catches mail:
# it is on the page /mail/ of the site.

main() {
    case $#-${1-} in
    1-?*@?*) ;;
    *) usage_error "mail-test needs one e-mail address, such as: mail-test you@example.com" ;;
    esac
    enter_mode
    python_in_mode - "$1" <"$ROOT/lib/mail_test.py" ||
        fail "the mail could not be sent" "correct EMAIL_URL or DEFAULT_FROM_EMAIL in .env by what the lines above say; production takes them at its next start: sh run.sh -0"
}

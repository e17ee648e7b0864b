#!/bin/sh
# Checks the message of a commit: pre-commit calls it with the file that the message is in.
awk '
    /^#/ { next }
    !subject { subject = $0; next }
    NF { has_body = 1 }
    END {
        if (length(subject) > 72) { print "the subject has " length(subject) " characters: at most 72"; bad = 1 }
        if (subject ~ /\.$/) { print "the subject ends with a full stop"; bad = 1 }
        if (!has_body && subject !~ /^Merge /) { print "there is no body that says why"; bad = 1 }
        exit bad
    }' "$1"

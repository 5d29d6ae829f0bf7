package trace

import "strings"

// Forged returns the test for fields that only we may write and that a message must not bring along: Return-Path, and
// Authentication-Results in our name (RFC 8601 section 5). A result whose author cannot be read is taken for ours: no
// reader could trust it.
func Forged(host string) func(Field) bool {
	return func(f Field) bool {
		if f.Is("Return-Path") {
			return true
		}
		if !f.Is("Authentication-Results") {
			return false
		}
		id, ok := authservID(f.Value())
		return !ok || strings.EqualFold(strings.TrimSuffix(id, "."), strings.TrimSuffix(host, "."))
	}
}

// authservID returns the name of the host that says it has authenticated, which is the first thing in the field, behind
// white space and comments: a token or a quoted string (RFC 8601 section 2.2).
func authservID(value string) (string, bool) {
	rest, ok := skipComments(value)
	if !ok || rest == "" {
		return "", false
	}
	if rest[0] == '"' {
		return quoted(rest[1:])
	}
	end := strings.IndexAny(rest, " \t;(\"")
	if end < 0 {
		end = len(rest)
	}
	return rest[:end], end > 0
}

// skipComments cuts white space and nested comments (RFC 5322 section 3.2.2) from the front of s. It reports false for a
// comment that does not end.
func skipComments(s string) (string, bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case depth == 0 && c != ' ' && c != '\t':
			return s[i:], true
		}
	}
	return "", depth == 0
}

// quoted returns the text of a quoted string behind its opening quote.
func quoted(s string) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return out.String(), true
		case '\\':
			i++
			if i == len(s) {
				return "", false
			}
		}
		out.WriteByte(s[i])
	}
	return "", false
}

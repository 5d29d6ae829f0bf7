package dit

import "fmt"

// The result codes of RFC 4511 appendix A that the directory gives.
const (
	codeProtocol          = 2
	codeTimeLimit         = 3
	codeSizeLimit         = 4
	codeStrongerAuth      = 8
	codeAdminLimit        = 11
	codeCriticalExtension = 12
	codeNoAttribute       = 16
	codeUndefinedType     = 17
	codeBadMatching       = 18
	codeConstraint        = 19
	codeExists            = 20 // attribute or value
	codeBadSyntax         = 21
	codeNoObject          = 32
	codeBadDN             = 34
	codeCredentials       = 49
	codeAccess            = 50
	codeUnavailable       = 52
	codeUnwilling         = 53
	codeNaming            = 64
	codeClass             = 65
	codeNotLeaf           = 66
	codeEntryExists       = 68
	codeClassMods         = 69
	codeMultipleServer    = 71
	codeAssertionFailed   = 122 // RFC 4528
	codeProxyDenied       = 123 // RFC 4370
	codeOther             = 80
	codeSyncRefresh       = 4096 // RFC 4533 section 2.7
)

// refuse makes the error of one refusal.
func refuse(code int, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// clip bounds what a diagnostic repeats of hostile input.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "..."
	}
	return s
}

package client

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory"
)

// A ResultError is what a server answered other than success. It unwraps to the sentinel of package directory that says
// what it means for the caller.
type ResultError struct {
	Op   string // "bind", "add uid=..."
	Code uint16 // RFC 4511 appendix A
	Text string // the server's diagnostic message: for logs and administrators, not for peers
	Kind error
}

// Error names the operation, its meaning, and the server's words.
func (e *ResultError) Error() string {
	text := fmt.Sprintf("%s: %v: ldap result %d (%s)", e.Op, e.Kind, e.Code, ldap.LDAPResultCodeMap[e.Code])
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// Unwrap returns Kind.
func (e *ResultError) Unwrap() error { return e.Kind }

// The meaning of result codes. What is in none of these lists is ErrUnavailable, among it everything a server says when it
// is not well (1, 2, 3, 4, 11, 51, 52, 54, 80), asks for another way to talk (7, 8, 13: the configuration is wrong, not the
// user), or sends us elsewhere (10).
var (
	// Binds: 49 is the one "no" to a password. slapd gives it for a locked account too unless it is told to say so; then the
	// password policy control comes with it, which makes it a refusal. Noted as not clear: 32 (no such entry) from servers
	// that break RFC 4511 section 4.2.2. The name came from a search a moment ago, so nobody can tell what it means.
	bindResults = map[uint16]error{
		ldap.LDAPResultInvalidCredentials:          directory.ErrWrong,
		ldap.LDAPResultConstraintViolation:         directory.ErrRefused, // 389-ds: too many failures
		ldap.LDAPResultInappropriateAuthentication: directory.ErrRefused, // no password to compare with
		ldap.LDAPResultInsufficientAccessRights:    directory.ErrRefused,
		ldap.LDAPResultUnwillingToPerform:          directory.ErrRefused, // 389-ds: locked; AD: disabled
	}

	// Searches: only a missing base is an answer.
	readResults = map[uint16]error{
		ldap.LDAPResultNoSuchObject: directory.ErrNotFound,
	}

	// Changes: refusals are for the administrator who asked, with the server's text.
	writeResults = map[uint16]error{
		ldap.LDAPResultInvalidCredentials:        directory.ErrWrong, // the old password of SetPassword
		ldap.LDAPResultNoSuchObject:              directory.ErrNotFound,
		ldap.LDAPResultNoSuchAttribute:           directory.ErrNotFound, // the value to be deleted
		ldap.LDAPResultEntryAlreadyExists:        directory.ErrExists,
		ldap.LDAPResultAttributeOrValueExists:    directory.ErrExists,
		ldap.LDAPResultUndefinedAttributeType:    directory.ErrRefused,
		ldap.LDAPResultConstraintViolation:       directory.ErrRefused, // the unique and constraint overlays, password quality
		ldap.LDAPResultInvalidAttributeSyntax:    directory.ErrRefused,
		ldap.LDAPResultInvalidDNSyntax:           directory.ErrRefused,
		ldap.LDAPResultInsufficientAccessRights:  directory.ErrRefused,
		ldap.LDAPResultUnwillingToPerform:        directory.ErrRefused,
		ldap.LDAPResultNamingViolation:           directory.ErrRefused,
		ldap.LDAPResultObjectClassViolation:      directory.ErrRefused,
		ldap.LDAPResultNotAllowedOnNonLeaf:       directory.ErrRefused,
		ldap.LDAPResultNotAllowedOnRDN:           directory.ErrRefused,
		ldap.LDAPResultObjectClassModsProhibited: directory.ErrRefused,
	}
)

func readError(op string, err error) error  { return resultError(op, err, readResults) }
func writeError(op string, err error) error { return resultError(op, err, writeResults) }

// resultError turns what go-ldap or the pool returned into an error that wraps a sentinel.
func resultError(op string, err error, table map[uint16]error) error {
	var result *ldap.Error
	switch {
	case err == nil:
		return nil
	case !answered(err) || !errors.As(err, &result):
		return fmt.Errorf("%s: %w: %w", op, directory.ErrUnavailable, err)
	}
	kind := table[result.ResultCode]
	if kind == nil {
		kind = directory.ErrUnavailable
	}
	return &ResultError{op, result.ResultCode, result.Err.Error(), kind}
}

// policyOfAD finds, in the text of Active Directory's result 49, the sub-codes that are its policy and no wrong password:
// hours, workstation, expired, disabled, account expired, must change, locked.
var policyOfAD = regexp.MustCompile(`\bdata (530|531|532|533|701|773|775)\b`)

// bindError judges a bind by its result and by the password policy control (draft-behera-ldap-password-policy), which
// servers send with a success too: "must change" and "expired" are refusals although the password was right.
func bindError(dn string, result *ldap.SimpleBindResult, err error) error {
	op := "bind as " + dn
	judged := resultError(op, err, bindResults)
	var refusal *ResultError
	if errors.As(judged, &refusal) && refusal.Code == ldap.LDAPResultInvalidCredentials && policyOfAD.MatchString(refusal.Text) {
		refusal.Kind = directory.ErrRefused
	}
	if errors.Is(judged, directory.ErrUnavailable) || result == nil {
		return judged
	}
	policy, ok := ldap.FindControl(result.Controls, ldap.ControlTypeBeheraPasswordPolicy).(*ldap.ControlBeheraPasswordPolicy)
	if !ok || policy.Error < 0 { // -1 is none, and 0 is "expired"
		return judged
	}
	return fmt.Errorf("%s: %w: password policy: %s", op, directory.ErrRefused, policy.ErrorString)
}

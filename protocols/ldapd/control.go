package ldapd

import (
	"errors"
	"fmt"

	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/protocols/ldapwire"
	"github.com/go-ldap/ldap/v3"
)

// Names of the controls that are understood.
const (
	pagedResults         = "1.2.840.113556.1.4.319"  // RFC 2696
	manageDsaIT          = "2.16.840.1.113730.3.4.2" // RFC 3296: there are no referrals to manage
	subentries           = "1.3.6.1.4.1.4203.1.10.1" // RFC 3672
	assertion            = "1.3.6.1.1.12"            // RFC 4528
	preRead              = "1.3.6.1.1.13.1"          // RFC 4527
	postRead             = "1.3.6.1.1.13.2"
	proxiedAuthorization = "2.16.840.1.113730.3.4.18"  // RFC 4370
	relax                = "1.3.6.1.4.1.4203.666.5.12" // draft-zeilenga-ldap-relax, of an add only
	syncRequest          = "1.3.6.1.4.1.4203.1.9.1.1"  // RFC 4533
	passwordPolicy       = "1.3.6.1.4.1.42.2.27.8.5.1" // draft-behera-ldap-password-policy: asks that we say what the policy has against it
)

// controls has each control with the operations it makes sense for.
var controls = []struct {
	oid string
	on  func(ldapwire.Request) bool
}{
	{pagedResults, isSearch},
	{manageDsaIT, namesEntry},
	{subentries, isSearch},
	{syncRequest, isSearch},
	{assertion, namesEntry},
	{preRead, isChange},
	{postRead, leavesEntry},
	{proxiedAuthorization, isAuthorized},
	{relax, isAdd},
	{passwordPolicy, func(ldapwire.Request) bool { return true }},
}

func isSearch(req ldapwire.Request) bool {
	_, ok := req.(*ldapwire.SearchRequest)
	return ok
}

func isAdd(req ldapwire.Request) bool {
	_, ok := req.(*ldapwire.AddRequest)
	return ok
}

// isChange reports whether req changes an entry that is there.
func isChange(req ldapwire.Request) bool {
	switch req.(type) {
	case *ldapwire.ModifyRequest, *ldapwire.DeleteRequest, *ldapwire.ModifyDNRequest:
		return true
	}
	return false
}

// leavesEntry reports whether there is an entry after req.
func leavesEntry(req ldapwire.Request) bool {
	switch req.(type) {
	case *ldapwire.AddRequest, *ldapwire.ModifyRequest, *ldapwire.ModifyDNRequest:
		return true
	}
	return false
}

// isAuthorized reports whether access rules apply to req (RFC 4370 section 3).
func isAuthorized(req ldapwire.Request) bool {
	_, isBind := req.(*ldapwire.BindRequest)
	return !isBind && !isStartTLS(req)
}

// namesEntry reports whether ManageDsaIT has a meaning for req (RFC 3296 section 3).
func namesEntry(req ldapwire.Request) bool {
	switch req.(type) {
	case *ldapwire.BindRequest, *ldapwire.ExtendedRequest:
		return false
	}
	return true
}

// Extensions are what controls ask of an operation.
type extensions struct {
	page       *ldapwire.PageRequest
	sync       *ldapwire.SyncRequest
	subentries bool // these and nothing else
	proxied    bool
	authzID    string // with proxied
	policy     bool   // say what the password policy has against it
	dit.Extra
}

// extensions reads the controls of m. Those that are not understood are an error when they are critical (RFC 4511
// section 4.1.11), else nothing.
func (s *session) extensions(m ldapwire.Message) (extensions, error) {
	var ext extensions
	seen := map[string]bool{}
	for _, c := range m.Controls {
		switch {
		case !understood(c.OID, m.Request) && c.Critical:
			return ext, &dit.Error{Code: ldap.LDAPResultUnavailableCriticalExtension, Text: "critical control is not understood here"}
		case !understood(c.OID, m.Request):
			continue
		case seen[c.OID]:
			return ext, &dit.Error{Code: ldap.LDAPResultProtocolError, Text: "control is there twice"}
		}
		seen[c.OID] = true
		err := ext.read(c, s.server.opts.Message)
		var refused *dit.Error
		switch {
		case errors.As(err, &refused):
			return ext, refused
		case err != nil:
			return ext, &dit.Error{Code: ldap.LDAPResultProtocolError, Text: fmt.Sprintf("value of control %s: %v", c.OID, err)}
		}
	}
	if ext.sync != nil && ext.page != nil {
		return ext, &dit.Error{Code: ldap.LDAPResultProtocolError, Text: "a synchronization has no pages"}
	}
	return ext, nil
}

func understood(oid string, req ldapwire.Request) bool {
	for _, c := range controls {
		if c.oid == oid {
			return c.on(req)
		}
	}
	return false
}

// read takes the value of one control.
func (e *extensions) read(c ldapwire.Control, limits ldapwire.Limits) (err error) {
	switch c.OID {
	case pagedResults:
		var page ldapwire.PageRequest
		page, err = ldapwire.DecodePage(c.Value)
		e.page = &page
	case assertion:
		e.Assert, err = ldapwire.DecodeAssertion(c.Value, limits)
	case preRead:
		e.Before = &dit.Reading{}
		e.Before.Attributes, err = ldapwire.DecodeSelection(c.Value, limits)
	case postRead:
		e.After = &dit.Reading{}
		e.After.Attributes, err = ldapwire.DecodeSelection(c.Value, limits)
	case proxiedAuthorization:
		if !c.Critical || c.Value == nil {
			return errors.New("it must be critical and have a value")
		}
		e.proxied, e.authzID = true, string(c.Value)
	case passwordPolicy:
		e.policy = true
	case relax:
		e.Relax = true
	case syncRequest:
		var sync ldapwire.SyncRequest
		sync, err = ldapwire.DecodeSyncRequest(c.Value)
		e.sync = &sync
	case subentries:
		e.subentries, err = ldapwire.DecodeBoolean(c.Value)
	}
	return err
}

// readings are the controls that answer pre-read and post-read.
func (e *extensions) readings() []ldapwire.Control {
	var out []ldapwire.Control
	for _, r := range []struct {
		oid     string
		reading *dit.Reading
	}{{preRead, e.Before}, {postRead, e.After}} {
		if r.reading != nil && r.reading.Entry != nil {
			out = append(out, ldapwire.Control{OID: r.oid, Value: ldapwire.EncodeEntry(r.reading.Entry)})
		}
	}
	return out
}

// Package ldapwire is the codec of LDAPv3 messages (RFC 4511) as a server needs it: requests in, responses out. It turns
// octets into values of package dit and back, holds no state and knows no connection.
//
// LDAP uses a small part of BER (RFC 4511 section 5.1): definite lengths, tags of one octet, primitive strings. The
// reader here takes just that, checks every length before it uses it and bounds depth, nodes and counts, so a hostile
// message costs no more than its own size.
//
// Faults are of two kinds. A [SyntaxError] means that the octets are no LDAP: the session must end with a notice of
// disconnection. A [dit.Error] means that the message is well formed and its content impossible: it is answered, and
// the session goes on (RFC 4511 section 4.1.1).
//
// Start reading at [Decode]; ReadFrame gets the octets it wants, encode.go makes the answers.
package ldapwire

import (
	"github.com/dirpost/dirpost/directory/dit"
)

// A Message is one request with its number and its controls (RFC 4511 section 4.1.1). Strings and values may share
// memory with the frame it was decoded from.
type Message struct {
	ID       int32
	Request  Request
	Controls []Control
}

// A Control extends a request or a response (RFC 4511 section 4.1.11). A nil Value is an absent one.
type Control struct {
	OID      string
	Critical bool
	Value    []byte
}

// A Request is one of the types below.
type Request interface {
	// ResponseTag is the tag of the response that ends the operation; 0 when there is none.
	ResponseTag() byte
}

// A BindRequest is RFC 4511 section 4.2. Mechanism is empty for a simple bind; then Password counts, else Credentials,
// of which nil means absent.
type BindRequest struct {
	Version     int
	Name        string
	Password    []byte
	Mechanism   string
	Credentials []byte
}

// An UnbindRequest ends the session (RFC 4511 section 4.3).
type UnbindRequest struct{}

// A SearchRequest is RFC 4511 section 4.5.1. How aliases are followed is read and dropped: the directory has none.
type SearchRequest struct{ dit.SearchRequest }

// A ModifyRequest is RFC 4511 section 4.6.
type ModifyRequest struct {
	DN      string
	Changes []dit.Change
}

// An AddRequest is RFC 4511 section 4.7.
type AddRequest struct{ Entry dit.Entry }

// A DeleteRequest is RFC 4511 section 4.8.
type DeleteRequest struct{ DN string }

// A ModifyDNRequest is RFC 4511 section 4.9. Move tells an absent NewSuperior from an empty one.
type ModifyDNRequest struct {
	DN          string
	NewRDN      string
	DeleteOld   bool
	Move        bool
	NewSuperior string
}

// A CompareRequest is RFC 4511 section 4.10.
type CompareRequest struct {
	DN    string
	Attr  string
	Value []byte
}

// An AbandonRequest is RFC 4511 section 4.11.
type AbandonRequest struct{ ID int32 }

// An ExtendedRequest is RFC 4511 section 4.12. A nil Value is an absent one.
type ExtendedRequest struct {
	OID   string
	Value []byte
}

// Tags of responses.
const (
	tagBindResponse     = 0x61
	tagSearchEntry      = 0x64
	tagSearchDone       = 0x65
	tagModifyResponse   = 0x67
	tagAddResponse      = 0x69
	tagDeleteResponse   = 0x6b
	tagModifyDNResponse = 0x6d
	tagCompareResponse  = 0x6f
	tagExtendedResponse = 0x78

	tagIntermediateResponse = 0x79
)

// ResponseTag is that of a BindResponse.
func (*BindRequest) ResponseTag() byte { return tagBindResponse }

// ResponseTag is 0: nobody answers an unbind.
func (*UnbindRequest) ResponseTag() byte { return 0 }

// ResponseTag is that of a SearchResultDone.
func (*SearchRequest) ResponseTag() byte { return tagSearchDone }

// ResponseTag is that of a ModifyResponse.
func (*ModifyRequest) ResponseTag() byte { return tagModifyResponse }

// ResponseTag is that of an AddResponse.
func (*AddRequest) ResponseTag() byte { return tagAddResponse }

// ResponseTag is that of a DelResponse.
func (*DeleteRequest) ResponseTag() byte { return tagDeleteResponse }

// ResponseTag is that of a ModifyDNResponse.
func (*ModifyDNRequest) ResponseTag() byte { return tagModifyDNResponse }

// ResponseTag is that of a CompareResponse.
func (*CompareRequest) ResponseTag() byte { return tagCompareResponse }

// ResponseTag is 0: nobody answers an abandon.
func (*AbandonRequest) ResponseTag() byte { return 0 }

// ResponseTag is that of an ExtendedResponse.
func (*ExtendedRequest) ResponseTag() byte { return tagExtendedResponse }

package ldapd

import (
	"github.com/dirpost/dirpost/directory/dit"
	"github.com/dirpost/dirpost/schema"
)

// features are what the server and the directory can do beyond RFC 4511.
var features = []string{
	"1.3.6.1.1.14",           // increment (RFC 4525)
	"1.3.6.1.4.1.4203.1.5.1", // "+" for all operational attributes (RFC 3673)
	"1.3.6.1.4.1.4203.1.5.2", // "@class" for its attributes (RFC 4529)
	"1.3.6.1.4.1.4203.1.5.3", // absolute true and false filters (RFC 4526)
}

// rootDSE is what the root entry says of the protocol, as this session may use it (RFC 4512 section 5.1). The directory
// adds what it knows.
func (s *session) rootDSE() []dit.Attribute {
	oids := make([]string, 0, len(controls))
	for _, c := range controls {
		oids = append(oids, c.oid)
	}
	operations := []string{passwordModify, whoAmI}
	if s.server.opts.TLS != nil && s.peer.TLS == nil {
		operations = append(operations, startTLS)
	}
	attributes := []dit.Attribute{
		attribute(schema.AttrSupportedLDAPVersion, "3"),
		attribute(schema.AttrSupportedControl, oids...),
		attribute(schema.AttrSupportedExtension, operations...),
		attribute(schema.AttrSupportedFeatures, features...),
		attribute(schema.AttrVendorName, "dirpost"),
	}
	if s.external() {
		attributes = append(attributes, attribute(schema.AttrSupportedSASLMechanisms, external))
	}
	return attributes
}

func attribute(name string, values ...string) dit.Attribute {
	a := dit.Attribute{Name: name}
	for _, v := range values {
		a.Values = append(a.Values, []byte(v))
	}
	return a
}

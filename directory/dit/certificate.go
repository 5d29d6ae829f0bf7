package dit

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
)

// certificateForm is serial number and issuer of a certificate in DER, by which certificateExactMatch compares (RFC 4523
// section 2.1). What cannot be read is its own form: no assertion matches it.
func (c *catalog) certificateForm(der string) string {
	var version int
	var serial *big.Int
	var algorithm pkix.AlgorithmIdentifier
	var name pkix.RDNSequence
	var outer, body asn1.RawValue
	if _, err := asn1.Unmarshal([]byte(der), &outer); err != nil {
		return der
	}
	if _, err := asn1.Unmarshal(outer.Bytes, &body); err != nil {
		return der
	}
	rest := body.Bytes
	for _, field := range []struct {
		into   any
		params string
	}{{&version, "optional,explicit,default:0,tag:0"}, {&serial, ""}, {&algorithm, ""}, {&name, ""}} {
		var err error
		if rest, err = asn1.UnmarshalWithParams(rest, field.into, field.params); err != nil {
			return der
		}
	}
	issuer, err := c.parseDN(nameText(name))
	if err != nil {
		return der
	}
	return serial.String() + "$" + issuer.norm
}

// nameText writes a name in the form of RFC 4514: in DER the top comes first.
func nameText(name pkix.RDNSequence) string {
	levels := make([]string, len(name))
	for i, level := range name {
		var values []string
		for _, a := range level {
			value, _ := a.Value.(string)
			values = append(values, a.Type.String()+"="+escapeValue(value))
		}
		levels[len(name)-1-i] = strings.Join(values, "+")
	}
	return strings.Join(levels, ",")
}

// certificateAssertion reads the form of RFC 4523 section 2.1, { serialNumber 1, issuer rdnSequence:"cn=..." }, with its two
// parts in either order.
func (c *catalog) certificateAssertion(v string) (form string, ok bool) {
	v, open := strings.CutPrefix(v, "{")
	v, closed := strings.CutSuffix(v, "}")
	if !open || !closed || len(v) > maxDN {
		return "", false
	}
	var serial *big.Int
	var issuer dn
	for range 2 {
		word, rest, _ := strings.Cut(strings.TrimLeft(v, " "), " ")
		rest = strings.TrimLeft(rest, " ")
		switch {
		case word == "serialNumber" && serial == nil:
			digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
			if serial, ok = new(big.Int).SetString(digits, 10); !ok || len(digits) > maxSerial {
				return "", false
			}
			v = rest[len(digits):]
		case word == "issuer" && issuer.norm == "":
			name, after, ok := quoted(strings.TrimPrefix(rest, "rdnSequence:"))
			d, err := c.parseDN(name)
			if !ok || err != nil {
				return "", false
			}
			issuer, v = d, after
		default:
			return "", false
		}
		v = strings.TrimPrefix(strings.TrimLeft(v, " "), ",")
	}
	return serial.String() + "$" + issuer.norm, serial != nil && issuer.norm != "" && strings.Trim(v, " ") == ""
}

// maxSerial bounds the digits of a serial number: RFC 5280 section 4.1.2.2 allows 20 octets.
const maxSerial = 60

// quoted reads a string in quotes, where two quotes stand for one.
func quoted(s string) (text, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, `"`)
	if !ok {
		return "", "", false
	}
	for {
		part, after, found := strings.Cut(s, `"`)
		if !found {
			return "", "", false
		}
		text += part
		if s, found = strings.CutPrefix(after, `"`); !found {
			return text, after, true
		}
		text += `"`
	}
}

package dit

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"regexp"
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

// exactAssertion is the form of RFC 4523 section 2.1: { serialNumber 1, issuer rdnSequence:"cn=..." }, in either order.
var exactAssertion = regexp.MustCompile(`^\{ *(?:serialNumber ([0-9]{1,60}) *, *issuer +(?:rdnSequence:)?"((?:[^"]|"")*)"|` +
	`issuer +(?:rdnSequence:)?"((?:[^"]|"")*)" *, *serialNumber ([0-9]{1,60})) *\}$`)

func (c *catalog) certificateAssertion(v string) (string, bool) {
	m := exactAssertion.FindStringSubmatch(v)
	if m == nil {
		return "", false
	}
	serial, ok := new(big.Int).SetString(m[1]+m[4], 10)
	issuer, err := c.parseDN(strings.ReplaceAll(m[2]+m[3], `""`, `"`))
	if !ok || err != nil {
		return "", false
	}
	return serial.String() + "$" + issuer.norm, true
}

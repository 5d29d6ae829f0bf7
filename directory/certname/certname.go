// Package certname has the one text that a distinguished name of a certificate has in the directory, whoever wrote it: made
// from its encoding, or from what other programs print.
//
// Start reading at [Text].
package certname

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// nameTypes are the attribute types written by name, as OpenSSL spells them. Stored certificate mappings contain these
// spellings: a row may be added only together with a change of the values that have its number.
var nameTypes = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
	"2.5.4.17": "postalCode", "2.5.4.41": "name", "2.5.4.42": "GN", "2.5.4.43": "initials",
	"2.5.4.44": "generationQualifier", "2.5.4.46": "dnQualifier", "2.5.4.65": "pseudonym", "2.5.4.97": "organizationIdentifier",
	"1.2.840.113549.1.9.1":       "emailAddress",
	"0.9.2342.19200300.100.1.1":  "UID",
	"0.9.2342.19200300.100.1.25": "DC",
}

// An attributeValue is one part of a relative name, with its value as it is encoded.
type attributeValue struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

// A relativeNameSET is a relative name; the ending of its name tells package asn1 that it is a SET.
type relativeNameSET []attributeValue

// Text is the one text of a distinguished name in a certificate, made from its encoding: the string of RFC 4514 with
// the last relative name first and no blanks between them, types by the names above, other types by number with their
// encoding in hex (section 2.4), values as text whatever string type they have. It equals what OpenSSL prints with
// -nameopt RFC2253,-esc_msb. crypto/x509/pkix is not used: it prints emailAddress by number. An empty name is "".
func Text(der []byte) (string, error) {
	var names []relativeNameSET
	rest, err := asn1.Unmarshal(der, &names)
	if err != nil {
		return "", fmt.Errorf("distinguished name: %w", err)
	}
	if len(rest) > 0 {
		return "", fmt.Errorf("distinguished name: %d bytes behind it", len(rest))
	}
	var text []string
	for _, name := range slices.Backward(names) {
		var parts []string
		for _, av := range slices.Backward(name) {
			parts = append(parts, av.text())
		}
		text = append(text, strings.Join(parts, "+"))
	}
	return strings.Join(text, ","), nil
}

func (av attributeValue) text() string {
	number := av.Type.String()
	name, known := nameTypes[number]
	value, isText := stringValue(av.Value)
	switch {
	case !known:
		return number + "=#" + hex.EncodeToString(av.Value.FullBytes)
	case !isText:
		return name + "=#" + hex.EncodeToString(av.Value.FullBytes)
	}
	return name + "=" + escape(value)
}

// The string types that package asn1 has no names for.
const (
	tagUniversalString = 28
	tagVisibleString   = 26
)

// stringValue decodes a DirectoryString, or one of the other string types that names are found with.
func stringValue(v asn1.RawValue) (string, bool) {
	if v.Class != asn1.ClassUniversal || v.IsCompound {
		return "", false
	}
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString, tagVisibleString:
		return string(v.Bytes), utf8.Valid(v.Bytes)
	case asn1.TagT61String: // in practice ISO 8859-1, which Unicode begins with
		runes := make([]rune, len(v.Bytes))
		for i, b := range v.Bytes {
			runes[i] = rune(b)
		}
		return string(runes), true
	case asn1.TagBMPString:
		if len(v.Bytes)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(v.Bytes)/2)
		for i := range units {
			units[i] = uint16(v.Bytes[2*i])<<8 | uint16(v.Bytes[2*i+1])
		}
		return string(utf16.Decode(units)), true
	case tagUniversalString:
		if len(v.Bytes)%4 != 0 {
			return "", false
		}
		var b strings.Builder
		for c := range slices.Chunk(v.Bytes, 4) {
			b.WriteRune(rune(c[0])<<24 | rune(c[1])<<16 | rune(c[2])<<8 | rune(c[3]))
		}
		return b.String(), true
	}
	return "", false
}

// escape writes a value as RFC 4514 section 2.4 wants it, and control characters in hex.
func escape(s string) string {
	var b strings.Builder
	for i, c := range []byte(s) {
		switch {
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, "\\%02X", c)
			continue
		case strings.IndexByte(`"+,;<>\`, c) >= 0,
			i == 0 && (c == ' ' || c == '#'),
			i == len(s)-1 && c == ' ':
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

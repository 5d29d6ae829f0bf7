package dit

import (
	"encoding/asn1"
	"strings"
	"time"
	"unicode/utf8"
)

// A syntax tests one value. Syntaxes without a test take any octets.
type syntax struct {
	oid, name string
	valid     func(c *catalog, v string) bool // nil = anything
	binary    bool                            // values travel with the option ";binary" (RFC 4522)
}

// syntaxes are those of RFC 4517, RFC 4523 and RFC 4530 that attributes of the schema name.
var syntaxes = []*syntax{
	{oid: "1.3.6.1.4.1.1466.115.121.1.3", name: "Attribute Type Description", valid: utf8Text},
	{oid: "1.3.6.1.4.1.1466.115.121.1.5", name: "Binary"},
	{oid: syntaxBits, name: "Bit String", valid: noCatalog(bitString)},
	{oid: syntaxBoolean, name: "Boolean", valid: noCatalog(func(v string) bool { return v == "TRUE" || v == "FALSE" })},
	{oid: "1.3.6.1.4.1.1466.115.121.1.8", name: "Certificate", valid: noCatalog(signedDER), binary: true},
	{oid: "1.3.6.1.4.1.1466.115.121.1.9", name: "Certificate List", valid: noCatalog(signedDER), binary: true},
	{oid: "1.3.6.1.4.1.1466.115.121.1.10", name: "Certificate Pair", valid: noCatalog(sequenceDER), binary: true},
	{oid: "1.3.6.1.4.1.1466.115.121.1.11", name: "Country String", valid: noCatalog(func(v string) bool { return len(v) == 2 && letter(v[0]) && letter(v[1]) })},
	{oid: syntaxDN, name: "DN", valid: func(c *catalog, v string) bool { _, ok := normDN(c, v); return ok }},
	{oid: "1.3.6.1.4.1.1466.115.121.1.14", name: "Delivery Method", valid: utf8Text},
	{oid: syntaxText, name: "Directory String", valid: utf8Text},
	{oid: "1.3.6.1.4.1.1466.115.121.1.22", name: "Facsimile Telephone Number", valid: noCatalog(printable)},
	{oid: syntaxTime, name: "Generalized Time", valid: func(c *catalog, v string) bool { _, ok := normTime(c, v); return ok }},
	{oid: syntaxIA5, name: "IA5 String", valid: noCatalog(func(v string) bool { return v != "" && plain(v) })},
	{oid: syntaxInteger, name: "INTEGER", valid: noCatalog(integer)},
	{oid: "1.3.6.1.4.1.1466.115.121.1.28", name: "JPEG"},
	{oid: "1.3.6.1.4.1.1466.115.121.1.30", name: "Matching Rule Description", valid: utf8Text},
	{oid: syntaxNumeric, name: "Numeric String", valid: noCatalog(numericString)},
	{oid: "1.3.6.1.4.1.1466.115.121.1.37", name: "Object Class Description", valid: utf8Text},
	{oid: syntaxOID, name: "OID", valid: func(c *catalog, v string) bool { _, ok := normOID(c, v); return ok }},
	{oid: syntaxOctets, name: "Octet String"},
	{oid: syntaxPostal, name: "Postal Address", valid: utf8Text},
	{oid: "1.3.6.1.4.1.1466.115.121.1.44", name: "Printable String", valid: noCatalog(printable)},
	{oid: syntaxTelephone, name: "Telephone Number", valid: noCatalog(printable)},
	{oid: "1.3.6.1.4.1.1466.115.121.1.51", name: "Teletex Terminal Identifier", valid: utf8Text},
	{oid: "1.3.6.1.4.1.1466.115.121.1.52", name: "Telex Number", valid: noCatalog(printable)},
	{oid: "1.3.6.1.4.1.1466.115.121.1.54", name: "LDAP Syntax Description", valid: utf8Text},
	{oid: syntaxUUID, name: "UUID", valid: noCatalog(uuidText)},
}

// syntaxByOID finds a syntax; one that is not in the table takes any octets.
func syntaxByOID(oid string) *syntax {
	for _, s := range syntaxes {
		if s.oid == oid {
			return s
		}
	}
	return &syntax{oid: oid}
}

func noCatalog(valid func(string) bool) func(*catalog, string) bool {
	return func(_ *catalog, v string) bool { return valid(v) }
}

func utf8Text(_ *catalog, v string) bool { return v != "" && utf8.ValidString(v) }

// printable is PrintableString of RFC 4517 section 3.2.
func printable(v string) bool {
	for i := range len(v) {
		if c := v[i]; !letter(c) && !digit(c) && strings.IndexByte("'()+,-./:=? ", c) < 0 {
			return false
		}
	}
	return v != ""
}

func numericString(v string) bool {
	for i := range len(v) {
		if !digit(v[i]) && v[i] != ' ' {
			return false
		}
	}
	return v != ""
}

// maxInteger is how many digits an INTEGER may have.
const maxInteger = 64

// integer is INTEGER of RFC 4517 section 3.3.16: no leading zero, no "-0".
func integer(v string) bool {
	v, negative := strings.CutPrefix(v, "-")
	if v == "" || len(v) > maxInteger || v[0] == '0' && (len(v) > 1 || negative) {
		return false
	}
	for i := range len(v) {
		if !digit(v[i]) {
			return false
		}
	}
	return true
}

func bitString(v string) bool {
	body, ok := strings.CutSuffix(v, "'B")
	return ok && strings.HasPrefix(body, "'") && strings.Trim(body[1:], "01") == ""
}

func numericOID(v string) bool {
	if !strings.Contains(v, ".") {
		return false
	}
	for arc := range strings.SplitSeq(v, ".") {
		if arc[:min(len(arc), 1)] == "-" || !integer(arc) {
			return false
		}
	}
	return true
}

func uuidText(v string) bool {
	if len(v) != 36 {
		return false
	}
	for i := range len(v) {
		c := v[i]
		hex := digit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash && c != '-' || !dash && !hex {
			return false
		}
	}
	return true
}

// signedDER tests for the outer form of certificates and revocation lists: body, algorithm, signature and no more. What
// is in the body is for those who use it: a directory must also hold what Go cannot parse.
func signedDER(v string) bool {
	var outer struct {
		Body      asn1.RawValue
		Algorithm asn1.RawValue
		Signature asn1.BitString
	}
	rest, err := asn1.Unmarshal([]byte(v), &outer)
	return err == nil && len(rest) == 0 && outer.Body.Tag == asn1.TagSequence && outer.Algorithm.Tag == asn1.TagSequence
}

func sequenceDER(v string) bool {
	var outer asn1.RawValue
	rest, err := asn1.Unmarshal([]byte(v), &outer)
	return err == nil && len(rest) == 0 && outer.Tag == asn1.TagSequence && outer.IsCompound
}

// timeLayouts are the forms of GeneralizedTime without fraction and zone (RFC 4517 section 3.3.13): minutes and seconds may be left out.
var timeLayouts = map[int]string{10: "2006010215", 12: "200601021504", 14: "20060102150405"}

// normTime makes UTC with seconds of every form of GeneralizedTime; a fraction stays unless it is zero.
func normTime(_ *catalog, v string) (string, bool) {
	digits := 0
	for digits < len(v) && digit(v[digits]) {
		digits++
	}
	layout, rest := timeLayouts[digits], v[digits:]
	if layout == "" {
		return "", false
	}
	var fraction string
	if rest != "" && (rest[0] == '.' || rest[0] == ',') {
		end := 1
		for end < len(rest) && digit(rest[end]) {
			end++
		}
		if end == 1 || end > 10 || digits != 14 {
			return "", false // fractions of hours and minutes are allowed by the RFC and used by nobody
		}
		fraction, rest = strings.TrimRight("."+rest[1:end], "0"), rest[end:]
	}
	zone := "Z0700"
	if len(rest) == 3 {
		zone = "Z07"
	}
	when, err := time.Parse(layout+zone, v[:digits]+rest)
	if err != nil || rest == "" {
		return "", false
	}
	return when.UTC().Format("20060102150405") + strings.TrimSuffix(fraction, ".") + "Z", true
}

package profile

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/dirpost/dirpost/directory/certname"
)

// A codec turns values of the server into ours and back. The zero value leaves them as they are.
type codec struct {
	decode func(value string) []string // ours; none if it says nothing of it
	encode func(value string) []string // what the server may have for it; nil: it cannot be searched for
}

// codecs are the ways to write values, by their names.
var codecs = map[string]codec{
	"guid":         {decodeGUID, encodeGUID},
	"uuid":         {decodeUUID, encodeUUID},
	"lock":         {decodeLock, nil},
	"reset":        {decodeReset, nil},
	"disabled":     {decodeDisabled, nil},
	"qmail":        {decodeQmail, nil},
	"forwardonly":  {decodeForwardOnly, nil},
	"time":         {decode: func(v string) []string { return []string{v} }, encode: encodeTime},
	"x509-subject": {decodeSubject, encodeSubject},
	"x509-serial":  {decodeSerial, encodeSerial},
}

func codecOf(word string) (codec, error) {
	if strings.HasSuffix(word, ":") && len(word) > 1 {
		return prefixed(word), nil
	}
	c, ok := codecs[word]
	if !ok {
		return c, fmt.Errorf("no way %q to write values", word)
	}
	return c, nil
}

// prefixed values begin with a word, in capitals or not; others are about something else.
func prefixed(prefix string) codec {
	return codec{
		decode: func(v string) []string {
			if len(v) > len(prefix) && strings.EqualFold(v[:len(prefix)], prefix) {
				return []string{v[len(prefix):]}
			}
			return nil
		},
		encode: func(v string) []string { return []string{prefix + v} },
	}
}

// decodeGUID reads objectGUID, whose first three fields have their octets in the other order (MS-DTYP section 2.3.4).
func decodeGUID(v string) []string {
	if len(v) != 16 {
		return nil
	}
	return decodeUUID(hex.EncodeToString(swapped([]byte(v))))
}

// decodeUUID reads nsUniqueId, which has its hyphens elsewhere.
func decodeUUID(v string) []string {
	h := strings.ReplaceAll(strings.ToLower(v), "-", "")
	if len(h) != 32 {
		return nil
	}
	return []string{h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]}
}

func encodeUUID(v string) []string {
	h := strings.ReplaceAll(v, "-", "")
	if len(h) != 32 {
		return nil
	}
	return []string{h[:8] + "-" + h[8:16] + "-" + h[16:24] + "-" + h[24:]}
}

func encodeGUID(v string) []string {
	b, err := hex.DecodeString(strings.ReplaceAll(v, "-", ""))
	if err != nil || len(b) != 16 {
		return nil
	}
	return []string{string(swapped(b))}
}

func swapped(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b[0:4])
	slices.Reverse(b[4:6])
	slices.Reverse(b[6:8])
	return b
}

// The states of an account that other directories know.
const (
	active    = "active"
	noLogin   = "nologin"
	suspended = "suspended"
	deleted   = "deleted"
)

// decodeLock reads nsAccountLock: TRUE keeps somebody from logging in, and other values say nothing.
func decodeLock(v string) []string {
	if strings.EqualFold(v, "TRUE") {
		return []string{noLogin}
	}
	return nil
}

// mustChange is what 389-ds writes as the time a password expires when its holder has to choose another.
const mustChange = "19700101000000Z"

// decodeReset reads passwordExpirationTime as pwdReset.
func decodeReset(v string) []string {
	if v == mustChange {
		return []string{"TRUE"}
	}
	return nil
}

// accountDisable is the bit of userAccountControl (MS-ADTS section 2.2.16).
const accountDisable = 2

// decodeDisabled reads userAccountControl. What is no number is no account that works.
func decodeDisabled(v string) []string {
	n, err := strconv.ParseInt(v, 10, 64)
	switch {
	case err != nil:
		return []string{suspended}
	case n&accountDisable != 0:
		return []string{noLogin}
	}
	return []string{active}
}

// decodeQmail reads accountStatus of qmail-ldap.
func decodeQmail(v string) []string {
	switch strings.ToLower(v) {
	case active:
		return []string{active}
	case "noaccess", "nopop":
		return []string{noLogin}
	case deleted:
		return []string{deleted}
	}
	return []string{suspended} // disabled, or nobody knows what
}

// decodeForwardOnly reads deliveryMode of qmail-ldap as dpForwardKeep.
func decodeForwardOnly(v string) []string {
	switch strings.ToLower(v) {
	case "nolocal", "forwardonly":
		return []string{"FALSE"}
	}
	return nil
}

// encodeTime writes a time with parts of a second, without which Active Directory does not understand it.
func encodeTime(v string) []string {
	t, err := time.Parse("20060102150405Z0700", v)
	if err != nil {
		return nil
	}
	return []string{t.UTC().Format("20060102150405.0Z")}
}

// The parts of a certificate mapping of Active Directory and FreeIPA: X509:<I>issuer<S>subject or X509:<I>issuer<SR>serial.
const (
	x509Issuer  = "X509:<I>"
	x509Subject = "<S>"
	x509Serial  = "<SR>"
)

// decodeSubject reads issuer and subject. Some directories begin names with the part nearest to the root and some end with
// it, so both are meant.
func decodeSubject(v string) []string {
	issuer, subject, ok := mapping(v, x509Subject)
	if !ok {
		return nil
	}
	i, iReversed, err := certname.Parse(issuer)
	if err != nil {
		return nil
	}
	s, sReversed, err := certname.Parse(subject)
	if err != nil {
		return nil
	}
	return distinct(s+"$"+i, sReversed+"$"+iReversed)
}

func encodeSubject(v string) []string {
	for i := range len(v) {
		if v[i] != '$' {
			continue
		}
		subject, sReversed, err := certname.Parse(v[:i])
		if err != nil {
			continue
		}
		issuer, iReversed, err := certname.Parse(v[i+1:])
		if err != nil {
			continue
		}
		return distinct(x509Issuer+issuer+x509Subject+subject, x509Issuer+iReversed+x509Subject+sReversed)
	}
	return nil
}

// decodeSerial reads issuer and serial number, whose octets are in the other order.
func decodeSerial(v string) []string {
	issuer, serial, ok := mapping(v, x509Serial)
	if !ok {
		return nil
	}
	b, err := hex.DecodeString(serial)
	if err != nil || len(b) == 0 {
		return nil
	}
	slices.Reverse(b)
	for len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	straight, reversed, err := certname.Parse(issuer)
	if err != nil {
		return nil
	}
	number := hex.EncodeToString(b) + "$"
	return distinct(number+straight, number+reversed)
}

func encodeSerial(v string) []string {
	serial, issuer, ok := strings.Cut(v, "$")
	b, err := hex.DecodeString(serial)
	if !ok || err != nil {
		return nil
	}
	slices.Reverse(b)
	straight, reversed, err := certname.Parse(issuer)
	if err != nil {
		return nil
	}
	number := x509Serial + hex.EncodeToString(b)
	return distinct(x509Issuer+straight+number, x509Issuer+reversed+number)
}

// mapping splits a value at the mark of its second part.
func mapping(v, mark string) (issuer, rest string, ok bool) {
	if len(v) < len(x509Issuer) || !strings.EqualFold(v[:len(x509Issuer)], x509Issuer) {
		return "", "", false
	}
	return strings.Cut(v[len(x509Issuer):], mark)
}

func distinct(a, b string) []string {
	if a == b {
		return []string{a}
	}
	return []string{a, b}
}

// equal is a filter for a value that may have anything in it.
func equal(attr, value string) string { return "(" + attr + "=" + ldap.EscapeFilter(value) + ")" }

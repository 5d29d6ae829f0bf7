// Package directory is the dictionary of who: addresses, accounts, roles, routes and identities, and the errors that
// every question to the directory may end in. It asks nobody anything.
//
// The packages below it do: client talks LDAP, lookup answers "where does this address go" and "who is this", auth
// checks passwords and certificates, provision changes entries, dit is the embedded directory itself.
//
// Start reading at [Account] and [Route].
package directory

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// The three answers of every question that decides something (never two: an outage is not a "no").
var (
	// ErrWrong: the credentials do not fit. LDAP result 49 and nothing else. Counts against the peer.
	ErrWrong = errors.New("wrong credentials")
	// ErrRefused: the credentials fit or were not looked at, policy says no (locked, must change, disabled, service or
	// network not allowed). The client hears the same words as for ErrWrong; the log tells the difference.
	ErrRefused = errors.New("refused by policy")
	// ErrUnavailable: nobody can tell now. Always a temporary failure to the client; never counted.
	ErrUnavailable = errors.New("directory unavailable")
)

// Faults of addresses and entries.
var (
	ErrNoSuchAddress = errors.New("no such address")               // our domain, nobody there: 550 5.1.1
	ErrNotLocal      = errors.New("not one of our domains")        // relaying: 550 5.7.1 for strangers
	ErrRestricted    = errors.New("takes mail from others only")   // dpSenderPolicy: 550 5.7.2
	ErrSuspended     = errors.New("address is suspended")          // 550 5.2.1
	ErrNotFound      = errors.New("no such entry")                 // a name that is not there
	ErrAmbiguous     = errors.New("more than one entry found")     // a fault of the data: refused, never "the first"
	ErrTooMany       = errors.New("too many recipients or levels") // expansion limits
	ErrExists        = errors.New("already there")
)

// A Refusal is the answer that an entry wants given to mail for it (dpTransport error:CODE TEXT). It is an error.
type Refusal struct {
	Code     int    // of SMTP, 4xx or 5xx
	Enhanced string // RFC 3463, of the same class
	Text     string // printable ASCII
}

// Error is the reply as it goes out.
func (r Refusal) Error() string { return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text) }

// A Status is the state of an account or address (dpAccountStatus).
type Status string

// The states. Deleted ones keep their mailbox until the purge.
const (
	Active    Status = "active"
	NoLogin   Status = "nologin"   // receives, may not log in
	Suspended Status = "suspended" // no login, RCPT is 550 5.2.1
	Deleted   Status = "deleted"   // RCPT is 550 5.1.1
)

// A Service is something an account may use (dpMailService). An account without a service may not use it.
type Service string

// The services.
const (
	Submission  Service = "submission"
	IMAP        Service = "imap"
	POP3        Service = "pop3"
	ManageSieve Service = "managesieve"
	Webmail     Service = "webmail"
	Admin       Service = "admin"
)

// An AuthPolicy says what a login needs (dpAuthPolicy).
type AuthPolicy string

// The policies; an absent attribute means Either.
const (
	PasswordOnly    AuthPolicy = "password"
	CertificateOnly AuthPolicy = "certificate"
	Either          AuthPolicy = "either"
	Both            AuthPolicy = "both" // a certificate and a password on the same connection
)

// A Quota bounds a mailbox; 0 is unlimited.
type Quota struct{ Bytes, Messages int64 }

// An Account is a person (or program) with a mailbox, as its entry says at this moment.
type Account struct {
	DN            string
	Entry         string // entryUUID: the entry, however it is named
	ID            string // dpMailboxId: the name of the mailbox for ever
	Login         string // uid
	Name          string // cn
	Mail          Address
	Addresses     []Address // what it receives (mailLocalAddress)
	SendAddresses []Address // what it may send as by itself: ({mail} + dpSendAddress) that are in Addresses
	Status        Status
	Services      []Service
	AuthPolicy    AuthPolicy
	Networks      []netip.Prefix // dpAllowedNetwork: empty = anywhere
	Quota         Quota
	MailHost      string // the node that owns the mailbox; empty = this one
}

// Allows reports whether the account may use s.
func (a Account) Allows(s Service) bool { return slices.Contains(a.Services, s) }

// A Mailbox is where a message is filed in the end.
type Mailbox struct {
	ID    string // dpMailboxId
	Login string // for logs
	Quota Quota
}

// A Step tells one decision of a resolution, for people: "role press@example.org", "member uid=bob,…".
type Step struct {
	Entry string // DN, empty where none was involved
	Text  string
}

// A Route is where mail for one address goes. Mailboxes has each mailbox once, in the order found. Remote has the
// outside addresses (external members, forwards), which need outbound mail.
type Route struct {
	Address   Address
	Mailboxes []Mailbox
	Remote    []Address
	Transport string // dpTransport when the address or its domain is relayed elsewhere, else empty
	Steps     []Step
}

// A Method is how somebody proved who he is.
type Method string

// The methods.
const (
	ByPassword    Method = "password"
	ByCertificate Method = "certificate"
	ByBoth        Method = "certificate+password"
)

// An Identity is the result of a login, made once and passed on as a value: who, how, and since when, the begin of the login.
type Identity struct {
	Account
	Method Method
	Since  time.Time
}

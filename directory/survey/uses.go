package survey

import "github.com/dirpost/dirpost/schema"

// A use is what something of our schema is for: what does not work without it.
type use struct {
	name        string
	level       Level
	consequence string
}

var attributes = []use{
	{schema.AttrMailLocalAddress, Fault, "nobody receives mail"},
	{schema.AttrUid, Fault, "nobody has a login name"},
	{schema.AttrMail, Fault, "nobody has an address to send as"},
	{schema.AttrDpAccountStatus, Fault, "accounts that do not say they are active count as suspended"},
	{schema.AttrDpMailService, Fault, "no account may use a service"},
	{schema.AttrEntryUUID, Lacks, "there is no view of the directory: it is asked each time, and mail stops when it is away"},
	{schema.AttrPwdChangedTime, Lacks, "a new password does not end the sessions that are open"},
	{schema.AttrDpMailboxId, Lacks, "mailboxes are named after the entry's id, which is lost when the directory is loaded from LDIF"},
	{schema.AttrMember, Lacks, "no groups"},
	{schema.AttrRoleOccupant, Lacks, "roles receive no mail"},
	{schema.AttrRfc822MailMember, Lacks, "groups have no outside members"},
	{schema.AttrOwner, Lacks, "lists have no owners"},
	{schema.AttrMailHost, Lacks, "no mailboxes on other machines"},
	{schema.AttrMailRoutingAddress, Lacks, "no rewriting of addresses"},
	{schema.AttrDpQuotaBytes, Lacks, "no quotas by size"},
	{schema.AttrDpQuotaMessages, Lacks, "no quotas by number"},
	{schema.AttrDpSendAddress, Lacks, "nobody has a second address to send as"},
	{schema.AttrDpSendGrant, Lacks, "nobody may send as a role or for somebody else"},
	{schema.AttrDpSenderPolicy, Lacks, "lists take mail from everybody"},
	{schema.AttrDpTransport, Lacks, "mail is not handed on to other hosts"},
	{schema.AttrDpAliasDomainOf, Lacks, "no alias domains"},
	{schema.AttrDpRequiredLocalPart, Lacks, "no addresses that must be deliverable, but postmaster"},
	{schema.AttrDpFallbackRecipient, Lacks, "nobody gets the mail for them"},
	{schema.AttrDpTerm, Lacks, "terms of office do not count"},
	{schema.AttrDpAllowedNetwork, Lacks, "logins are taken from everywhere"},
	{schema.AttrDpAuthPolicy, Lacks, "nobody is bound to certificates"},
	{schema.AttrDpForward, Lacks, "no forwarding"},
	{schema.AttrDpForwardKeep, Lacks, "who forwards always keeps a copy"},
	{schema.AttrDpAdminRight, Lacks, "no administrators: mail for postmaster must have an address of its own"},
	{schema.AttrDpCertSHA256, Lacks, "no login by the fingerprint of a certificate"},
	{schema.AttrDpCertSPKI, Lacks, "no login by the key of a certificate"},
	{schema.AttrDpCertIssuerSerial, Lacks, "no login by issuer and serial number of a certificate"},
	{schema.AttrDpCertSubject, Lacks, "no login by the subject of a certificate"},
	{schema.AttrDpCertEmail, Lacks, "no login by the address in a certificate"},
}

var classes = []use{
	{schema.ClassDpMailAccount, Fault, "there are no accounts"},
	{schema.ClassGroupOfNames, Lacks, "no groups"},
	{schema.ClassOrganizationalRole, Lacks, "no roles"},
	{schema.ClassDpMailDomain, Lacks, "domains are those of the configuration (directory.domains)"},
	{schema.ClassDpCertAuthority, Lacks, "no login by certificate"},
	{schema.ClassDpSharedFolder, Lacks, "no public folders"},
}

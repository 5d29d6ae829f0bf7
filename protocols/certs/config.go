package certs

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// hintsFor is how long a list of authorities is sent before the directory is asked for it again.
	hintsFor = 10 * time.Second
	// maxHintBytes bounds the names of authorities in a handshake. Longer lists are left out (an empty list means "any",
	// RFC 8446 section 4.2.4): the message has a hard limit of 64 KiB, and every client would pay for it.
	maxHintBytes = 16 << 10
)

// Server returns the TLS configuration of our listeners. TLS 1.2 and 1.3 with forward secrecy and authenticated
// encryption only, which is Mozilla's "intermediate" recommendation: no mail client of the last ten years is left out.
//
// When clientAuth is not nil, clients are asked for a certificate, and its pool is sent as a hint which ones are of
// use. Any certificate that Go can parse is accepted and none is verified: that is the business of package login, after
// each handshake, resumed ones too. clientAuth is called at most once in ten seconds, by one handshake at a time; nil is
// no hint.
func (s *Store) Server(clientAuth func() *x509.CertPool) *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are not configurable and all good
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		GetCertificate: s.choose,
	}
	if clientAuth == nil {
		return config
	}
	config.ClientAuth = tls.RequestClientCert
	h := &hints{ask: clientAuth}
	h.current.Store(config.Clone())
	config.GetConfigForClient = h.config
	return config
}

// hints keeps a configuration with the authorities of the moment as ClientCAs. Session ticket keys stay those of the
// configuration that Server returned.
type hints struct {
	ask     func() *x509.CertPool
	current atomic.Pointer[tls.Config]

	mu   sync.Mutex // held by the one handshake that asks; guards next
	next time.Time
}

// config is a tls.Config's GetConfigForClient. It never waits for another handshake: whoever comes while the question is
// out gets what was known before.
func (h *hints) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	if h.mu.TryLock() {
		defer h.mu.Unlock()
		if now := time.Now(); now.After(h.next) {
			h.refresh(h.ask())
			h.next = time.Now().Add(hintsFor)
		}
	}
	return h.current.Load(), nil
}

// refresh puts pool in place of the hints in use, if it differs.
func (h *hints) refresh(pool *x509.CertPool) {
	if pool != nil && hintBytes(pool) > maxHintBytes {
		pool = nil
	}
	old := h.current.Load()
	if pool.Equal(old.ClientCAs) {
		return
	}
	config := old.Clone()
	config.ClientCAs = pool
	h.current.Store(config)
}

// hintBytes is the size of the names as they go out.
func hintBytes(pool *x509.CertPool) int {
	size := 0
	//lint:ignore SA1019 deprecated for the system's pool; this one is ours
	for _, subject := range pool.Subjects() {
		size += 2 + len(subject)
	}
	return size
}

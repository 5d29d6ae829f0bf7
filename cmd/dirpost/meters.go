package main

import (
	"errors"
	"time"

	"github.com/dirpost/dirpost/directory"
	"github.com/dirpost/dirpost/protocols/login"
	"github.com/dirpost/dirpost/protocols/metrics"
	"github.com/dirpost/dirpost/storage"
)

// meters are the numbers that /metrics shows.
type meters struct {
	registry   *metrics.Registry
	logins     *metrics.Counter
	dismissals *metrics.Counter
	deliveries *metrics.Counter
	bytes      *metrics.Counter
	filing     *metrics.Histogram
	ldapCalls  *metrics.Counter
	ldapTime   *metrics.Histogram
}

func newMeters() *meters {
	r := metrics.New()
	return &meters{
		registry:   r,
		logins:     r.Counter("dirpost_logins_total", "Logins by result: ok, wrong, refused or unavailable.", "service", "result"),
		dismissals: r.Counter("dirpost_sessions_ended_total", "Sessions that ended because the directory took away what let somebody in.", "service"),
		deliveries: r.Counter("dirpost_deliveries_total", "Copies of messages for mailboxes: filed, refused (too large or over quota) or failed.", "result"),
		bytes:      r.Counter("dirpost_delivered_bytes_total", "Size of the copies that were filed."),
		filing:     r.Histogram("dirpost_delivery_seconds", "Time to file one copy durably.", metrics.Seconds),
		ldapCalls:  r.Counter("dirpost_ldap_operations_total", "Questions to the directory: answered, or failed.", "op", "result"),
		ldapTime:   r.Histogram("dirpost_ldap_seconds", "Time until the directory answered or failed.", metrics.Seconds, "op"),
	}
}

// login is told of each login.
func (m *meters) login(service directory.Service, err error) {
	result := "unavailable"
	switch {
	case err == nil:
		result = "ok"
	case errors.Is(err, login.ErrBraked):
		result = "braked"
	case errors.Is(err, directory.ErrUnavailable):
	case errors.Is(err, directory.ErrWrong):
		result = "wrong"
	case errors.Is(err, directory.ErrRefused):
		result = "refused"
	}
	m.logins.Add(1, string(service), result)
}

// ended is told of each session that the directory ended.
func (m *meters) ended(service directory.Service) { m.dismissals.Add(1, string(service)) }

// delivery is told of each copy of a message.
func (m *meters) delivery(bytes int64, took time.Duration, err error) {
	switch {
	case err == nil:
		m.deliveries.Add(1, "filed")
		m.bytes.Add(float64(bytes))
		m.filing.Observe(took.Seconds())
	case errors.Is(err, storage.ErrOverQuota), errors.Is(err, storage.ErrTooLarge):
		m.deliveries.Add(1, "refused")
	default:
		m.deliveries.Add(1, "failed")
	}
}

// ldapCall is told of each question to the directory.
func (m *meters) ldapCall(op string, took time.Duration, answered bool) {
	result := "failed"
	if answered {
		result = "answered"
	}
	m.ldapCalls.Add(1, op, result)
	m.ldapTime.Observe(took.Seconds(), op)
}

// watch adds what is looked at only when somebody asks.
func (m *meters) watch(p *platform) {
	r := m.registry
	type setter = func(v float64, values ...string)
	r.Count("dirpost_connections_total", "Connections accepted.", func(set setter) {
		for _, e := range p.endpoints {
			set(float64(e.traffic.total.Load()), e.name)
		}
	}, "service")
	r.Gauge("dirpost_connections_open", "Connections open now.", func(set setter) {
		for _, e := range p.endpoints {
			set(float64(e.traffic.open.Load()), e.name)
		}
	}, "service")
	r.Gauge("dirpost_queue_messages", "Messages accepted and not yet with everybody they are for.", func(set setter) {
		set(float64(p.queueReport().Messages))
	})
	r.Gauge("dirpost_queue_oldest_timestamp_seconds", "When the oldest of them arrived; absent while there is none.", func(set setter) {
		if q := p.queueReport(); q.Messages > 0 {
			set(float64(q.Oldest.Unix()))
		}
	})
	r.Gauge("dirpost_certificate_expiry_timestamp_seconds", "When a server certificate ends.", func(set setter) {
		for _, c := range p.certs.Expiry() {
			set(float64(c.NotAfter.Unix()), c.File)
		}
	}, "file")
	m.watchView(p)
	for _, of := range []struct {
		name, help string
		value      func(diskReport) uint64
	}{
		{"dirpost_disk_free_bytes", "Room on the file system of a folder.", func(d diskReport) uint64 { return d.FreeBytes }},
		{"dirpost_disk_size_bytes", "Size of that file system.", func(d diskReport) uint64 { return d.TotalBytes }},
		{"dirpost_disk_free_files", "Files that can still be made on it.", func(d diskReport) uint64 { return d.FreeFiles }},
	} {
		r.Gauge(of.name, of.help, func(set setter) {
			for _, d := range p.disks() {
				if d.Err == "" {
					set(float64(of.value(d)), d.What)
				}
			}
		}, "folder")
	}
	r.Gauge("dirpost_build_info", "Always 1; the label is the version.", func(set setter) { set(1, version) }, "version")
	r.Gauge("process_start_time_seconds", "When the server was started.", func(set setter) { set(float64(p.began.Unix())) })
	for _, of := range []struct {
		name, help string
		value      func(processReport) uint64
	}{
		{"process_resident_memory_bytes", "Memory in use.", func(r processReport) uint64 { return r.ResidentBytes }},
		{"process_open_fds", "Descriptors open.", func(r processReport) uint64 { return r.OpenFiles }},
		{"process_max_fds", "Descriptors that may be open.", func(r processReport) uint64 { return r.MaxFiles }},
		{"go_goroutines", "Goroutines.", func(r processReport) uint64 { return r.Goroutines }},
	} {
		r.Gauge(of.name, of.help, func(set setter) { set(float64(of.value(ownProcess()))) })
	}
	r.Count("process_cpu_seconds_total", "Processor time used.", func(set setter) { set(ownProcess().CPUSeconds) })
}

// watchView adds the numbers of the view of the directory.
func (m *meters) watchView(p *platform) {
	type setter = func(v float64, values ...string)
	view := func(value func(viewReport) float64) func(setter) {
		return func(set setter) {
			if r := p.viewReport(); r.Entries > 0 {
				set(value(r), r.Source)
			}
		}
	}
	m.registry.Gauge("dirpost_view_age_seconds", "How long ago the view of the directory was known to be right.", view(func(r viewReport) float64 { return r.Seconds }), "source")
	m.registry.Gauge("dirpost_view_entries", "Entries in the view of the directory.", view(func(r viewReport) float64 { return float64(r.Entries) }), "source")
}

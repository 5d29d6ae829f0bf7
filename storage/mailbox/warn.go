package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/dirpost/dirpost/storage"
	"github.com/dirpost/dirpost/storage/maildir"
)

// warnedFile of a home says which warning its owner has had: a percentage.
const warnedFile = "dirpost-warned"

// slack is by how many percent a home must fall below a mark before the next crossing is worth another warning.
const slack = 5

// Crossed tells that the home has grown over one of marks, which are percentages of its quota in rising order, since it was
// asked last: the highest of them, or 0. Each crossing is told once, also over restarts; what the home was told stays behind
// when it shrinks.
func (h *Home) Crossed(ctx context.Context, limit storage.Quota, marks []int) (int, error) {
	if limit.Bytes <= 0 && limit.Messages <= 0 || len(marks) == 0 {
		return 0, nil
	}
	live, err := h.store.home(ctx, h.id)
	if err != nil {
		return 0, fmt.Errorf("quota mark: %w", err)
	}
	defer h.store.release(live)
	if err := live.countAll(ctx, false); err != nil {
		return 0, fmt.Errorf("quota mark: %w", err)
	}
	live.mu.Lock()
	used := percent(live.held(), limit)
	live.mu.Unlock()
	crossed, err := live.crossed(used, marks)
	if err != nil {
		return 0, fmt.Errorf("quota mark: %w", err)
	}
	return crossed, nil
}

// percent is how much of a quota is used, of that dimension of which more is.
func percent(used, limit storage.Quota) int {
	var most int64
	for _, q := range [][2]int64{{used.Bytes, limit.Bytes}, {used.Messages, limit.Messages}} {
		if q[1] > 0 {
			most = max(most, min(100, q[0]*100/q[1]))
		}
	}
	return int(most)
}

// crossed compares what is used with what was told, and makes a change of that durable before it is told.
func (h *home) crossed(used int, marks []int) (int, error) {
	h.warning.Lock()
	defer h.warning.Unlock()
	if !h.warnedKnown {
		told, err := h.readWarned()
		if err != nil {
			return 0, err
		}
		h.warned, h.warnedKnown = told, true
	}
	now := 0
	for _, mark := range marks {
		if used >= mark || mark <= h.warned && used >= mark-slack {
			now = mark
		}
	}
	if now == h.warned {
		return 0, nil
	}
	if err := maildir.WriteFile(h.inbox().File(warnedFile), []byte(strconv.Itoa(now)+"\n")); err != nil {
		return 0, err
	}
	rises := now > h.warned
	h.warned = now
	if !rises {
		return 0, nil
	}
	return now, nil
}

// readWarned reads what was told. A file that cannot be understood tells nothing: a warning too many does no harm.
func (h *home) readWarned() (int, error) {
	text, err := os.ReadFile(h.inbox().File(warnedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	told, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || told < 0 || told > 100 {
		return 0, nil
	}
	return told, nil
}

//go:build refusals

package errs

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
)

var seenAlready sync.Map

// seen appends the error to the file that UNDERSTUDY_REFUSALS names: tests that are built with the
// tag `refusals` collect the product's texts for docs/errors.md.
func seen(e *Error) {
	name := os.Getenv("UNDERSTUDY_REFUSALS")
	if name == "" {
		return
	}
	line, err := json.Marshal(map[string]string{"reason": strings.TrimPrefix(ReasonOf(e).String(),
		"REASON_"), "text": e.Error(), "way": HintOf(e).Text})
	if err != nil {
		return
	}
	if _, twice := seenAlready.LoadOrStore(string(line), true); twice {
		return
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = file.Write(append(line, '\n'))
}

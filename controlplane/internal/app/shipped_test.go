package app_test

import (
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/app"
	"github.com/understudy-db/understudy/deploy/systemd"
)

// inComment finds a key of the file that is shipped, behind a # in its first column.
var inComment = regexp.MustCompile(`(?m)^#([a-z])`)

// The file that is shipped sets nothing, explains every key, and says the defaults.
func TestTheFileThatIsShippedIsRight(t *testing.T) {
	t.Parallel()
	text := string(systemd.Config())
	for field := range reflect.TypeFor[app.Config]().Fields() {
		key := field.Tag.Get("koanf")
		if key == "-" || strings.HasPrefix(key, "replace_lost_") {
			continue // no setting, or a flag alone
		}
		if !regexp.MustCompile(`(?m)^# .+\n#` + key + ": ").MatchString(text) {
			t.Errorf("%s is not in the file, with a comment above", key)
		}
	}
	provider := map[string]any{"provider": "manual"}
	defaults, err := app.Load(app.Sources{Flags: provider})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"as it is": text,
		"with all keys": inComment.ReplaceAllString(text, "$1")} {
		shipped, err := app.Load(app.Sources{File: write(t, content), Required: true,
			Flags: provider})
		if err != nil || !reflect.DeepEqual(shipped, defaults) {
			t.Errorf("the file %s means %+v, the defaults are %+v, %v", name, shipped, defaults,
				err)
		}
	}
}

package kit_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/understudy-db/understudy/controlplane/internal/workflow/kit"
)

func TestSecretIsNeverShown(t *testing.T) {
	t.Parallel()
	s := kit.NewSecret()
	encoded, err := json.Marshal(struct{ Password kit.Secret }{s})
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %+v %#v %s %q", s, kit.ReplicationAccount{Password: s},
		kit.ConfigureReplica{Password: s}, s, s) + string(encoded)
	if strings.Contains(shown, s.Reveal()) || len(s.Reveal()) < 20 ||
		s.Reveal() == kit.NewSecret().Reveal() {
		t.Error(shown)
	}
}

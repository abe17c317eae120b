package ec2

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/understudy-db/understudy/controlplane/internal/provider"
)

// JoinPath is where an agent looks for its join file.
const JoinPath = "/etc/understudy-agent/join.json"

// cachePath is where cloud-init looks for settings that are no user data's: it knows
// manual_cache_clean in user data too, but then calls them invalid at each boot.
const cachePath = "/etc/cloud/cloud.cfg.d/90-understudy.cfg"

// userData is what cloud-init makes of a fresh instance: its host name, in quotes as "on" and
// "null" are names too, and the join file that root alone can read. One whose metadata service will
// be off trusts what it kept of its first boot.
func userData(host string, join []byte, sealed bool) (*string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "#cloud-config\nhostname: %q\npreserve_hostname: false\n", host)
	if sealed || len(join) > 0 {
		b.WriteString("write_files:\n")
	}
	if sealed {
		fmt.Fprintf(&b, "- path: %s\n"+
			"  content: \"manual_cache_clean: true\\n\"\n", cachePath)
	}
	if len(join) > 0 {
		fmt.Fprintf(&b, "- path: %s\n"+
			"  owner: root:root\n"+
			"  permissions: \"0600\"\n"+
			"  encoding: b64\n"+
			"  content: %s\n", JoinPath, base64.StdEncoding.EncodeToString(join))
	}
	if b.Len() > provider.MaxUserData {
		return nil, provider.Errorf(provider.ErrInvalid, "",
			"the join file of %d bytes does not fit into the %d bytes that EC2 takes", len(join),
			provider.MaxUserData)
	}
	encoded := base64.StdEncoding.EncodeToString([]byte(b.String()))
	return &encoded, nil
}

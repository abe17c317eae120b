package ec2lab_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/understudy-db/understudy/controlplane/internal/lab/ec2lab"
	"github.com/understudy-db/understudy/controlplane/internal/provider"
	"github.com/understudy-db/understudy/controlplane/internal/provider/ec2"
)

// none is what cloud-init takes for the ID of an instance that it knows nothing about.
const none = "iid-datasource-none"

// aBoot is a boot of a root filesystem, and what cloud-init makes of it: TestModelOfCloudInit has
// the lab's model say so, TestLongRealCloudInit the program.
type aBoot struct {
	what string
	// of is the instance that boots: one more is of an AMI that was made of the last one.
	of string
	// clean says that `cloud-init clean` was run before, off that the metadata service is off.
	clean, off bool
	// id is the instance that cloud-init takes it for, host its name.
	id, host string
	// isNew says that host keys and the default user are made, joins that the join file is written.
	isNew, joins bool
}

// boots are those of two roots, by whether the machines were to be sealed.
var boots = map[bool][]aBoot{
	false: {
		{what: "first boot", of: "db1", id: "db1", host: "db1", isNew: true, joins: true},
		{what: "reboot", of: "db1", id: "db1", host: "db1"},
		{what: "reboot, service off", of: "db1", off: true, id: none, host: "db1", isNew: true},
		{what: "reboot, service on again", of: "db1", id: "db1", host: "db1"},
		{what: "of an AMI", of: "db2", id: "db2", host: "db2", isNew: true, joins: true},
	},
	true: {
		{what: "first boot", of: "db3", id: "db3", host: "db3", isNew: true, joins: true},
		{what: "reboot, sealed", of: "db3", off: true, id: "db3", host: "db3"},
		{what: "of an AMI", of: "db4", id: "db3", host: "db3"},
		{what: "of a cleaned AMI", of: "db5", clean: true, id: "db5", host: "db5", isNew: true,
			joins: true},
	},
}

// model is a provider before a lab in memory, whose machines boot in the model.
type model struct {
	*ec2.Provider
	memory *ec2lab.Memory
	server *ec2lab.Server
	admin  *sdk.Client
	ids    map[string]string
	last   string
}

func newModel(t *testing.T, seal bool) *model {
	t.Helper()
	m := &model{memory: ec2lab.NewMemory(provider.Image{Name: "image", Ready: true,
		DefaultVolume: &provider.DefaultVolume{SizeBytes: 1 << 30, Filesystem: "ext4"}}),
		ids: map[string]string{}}
	var err error
	m.server, err = ec2lab.New(ec2lab.Config{Lab: m.memory,
		Behaviour: ec2lab.Behaviour{CloudInit: true}})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(m.server)
	t.Cleanup(front.Close)
	m.Provider, err = ec2.New(t.Context(), ec2.Config{Region: ec2lab.Region, Fleet: fleet,
		Subnets: ec2lab.Subnets(), SealMetadata: seal, Endpoint: front.URL,
		Consistency: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	m.admin = sdk.New(sdk.Options{Region: ec2lab.Region, BaseEndpoint: aws.String("http://ec2.lab"),
		HTTPClient: m.server.Direct(), Credentials: credentials.NewStaticCredentialsProvider(
			ec2lab.AdminKey, "secret", "")})
	return m
}

// joinFile is that of an instance.
func joinFile(name string) string { return `{"token": "of ` + name + `"}` }

// boot boots the instance in the model.
func (m *model) boot(t *testing.T, b aBoot) ec2lab.Booted {
	t.Helper()
	id, again := m.ids[b.of]
	if !again {
		made, err := m.CreateMachine(t.Context(), provider.CreateMachineRequest{
			ClientToken: b.of, Name: b.of, Image: "image", UserData: []byte(joinFile(b.of))})
		if err != nil {
			t.Fatal(err)
		}
		id = made.ID
		m.ids[b.of] = id
		if m.last == "" {
			m.last = id
			return m.server.Booted(id)
		}
		m.server.CopyRoot(id, m.last, b.clean)
	}
	m.last = id
	endpoint := types.InstanceMetadataEndpointStateEnabled
	if b.off {
		endpoint = types.InstanceMetadataEndpointStateDisabled
	}
	if _, err := m.admin.ModifyInstanceMetadataOptions(t.Context(),
		&sdk.ModifyInstanceMetadataOptionsInput{InstanceId: aws.String(id),
			HttpEndpoint: endpoint}); err != nil {
		t.Fatal(err)
	}
	if err := m.RebootMachine(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	return m.server.Booted(id)
}

// wants is what cloud-init is to make of the boot.
func (m *model) wants(b aBoot) ec2lab.Booted {
	want := ec2lab.Booted{ID: b.id, Host: b.host, New: b.isNew}
	if id, is := m.ids[b.id]; is {
		want.ID = id
	}
	if b.joins {
		want.Join = joinFile(b.of)
	}
	return want
}

func TestModelOfCloudInit(t *testing.T) {
	t.Parallel()
	for seal, all := range boots {
		m := newModel(t, seal)
		for _, b := range all {
			if got, want := m.boot(t, b), m.wants(b); got != want {
				t.Errorf("sealing %v, %s of %s: %+v, not %+v", seal, b.what, b.of, got, want)
			}
		}
	}
}

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from tests.account.room import OPERATOR, Room

from watchword.account.v1 import account_pb2 as pb
from watchword.core.errors import FailedPrecondition, InvalidArgument, PermissionDenied, Reason
from watchword.core.ports import MINUTE
from watchword.tenancy.model import Caller, CodePolicy, Resend, Scope, region_open

WORKLOAD = "spiffe://mesh.example/ns/shop/sa/web"


def update(application: pb.Application, *paths: str) -> pb.UpdateApplicationRequest:
    return pb.UpdateApplicationRequest(application=application, update_mask=FieldMask(paths=paths))


async def test_what_is_left_out_is_narrow(room: Room) -> None:
    account_id, owner = await room.account()
    response = await room.call(
        owner,
        room.servicer.CreateApplication,
        pb.CreateApplicationRequest(display_name="Shop", enabled_regions=["FR", "DE", "DE"]),
    )
    application = response.application
    assert application.account_id == account_id
    assert list(application.enabled_regions) == ["DE", "FR"]
    assert list(application.enabled_channels) == [pb.CHANNEL_SMS]
    assert not application.custom_code_granted
    policy = application.code_policy
    assert (policy.length, policy.ttl.seconds, policy.max_checks) == (6, 600, 5)
    assert policy.resend == pb.RESEND_POLICY_SAME


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"display_name": ""}, "display_name"),
        ({"enabled_regions": []}, "enabled_regions"),
        ({"enabled_regions": ["de"]}, "enabled_regions"),
        ({"enabled_channels": [pb.CHANNEL_UNSPECIFIED]}, "enabled_channels"),
        ({"enabled_channels": [pb.CHANNEL_AUTO]}, "enabled_channels"),
        ({"enabled_channels": [99]}, "enabled_channels"),
        ({"brand_name": "x" * 33}, "brand_name"),
        ({"audience": "x" * 129}, "audience"),
        ({"purposes": ["Log in"]}, "purposes"),
        ({"spiffe_ids": ["https://mesh/x"]}, "spiffe_ids"),
        ({"spiffe_ids": ["spiffe://mesh"]}, "spiffe_ids"),
        ({"spiffe_ids": ["spiffe://mesh/a/../b"]}, "spiffe_ids"),
        ({"spiffe_ids": ["spiffe://mesh/a/"]}, "spiffe_ids"),
        ({"spiffe_ids": ["spiffe://Mesh/a"]}, "spiffe_ids"),
        ({"spiffe_scopes": ["root"]}, "spiffe_scopes"),
    ],
)
async def test_c054_a_malformed_application_names_its_field(
    room: Room, fields: dict[str, object], field: str
) -> None:
    _, owner = await room.account()
    good: dict[str, object] = {"display_name": "Shop", "enabled_regions": ["DE"]}
    request = pb.CreateApplicationRequest(**{**good, **fields})  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument) as caught:
        await room.call(owner, room.servicer.CreateApplication, request)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (pb.CodePolicy(length=1), "length"),
        (pb.CodePolicy(length=9), "length"),
        (pb.CodePolicy(length=-6), "length"),
        (pb.CodePolicy(ttl=Duration(seconds=601)), "ttl"),
        (pb.CodePolicy(ttl=Duration(seconds=315_360_000)), "ttl"),
        (pb.CodePolicy(ttl=Duration()), "ttl"),
        (pb.CodePolicy(max_checks=11), "max_checks"),
        (pb.CodePolicy(max_checks=1_000_000_000), "max_checks"),
        (pb.CodePolicy(resend=pb.RESEND_POLICY_UNSPECIFIED), "resend"),
    ],
)
async def test_c010_a_code_policy_stays_within_hard_bounds(
    room: Room, policy: pb.CodePolicy, field: str
) -> None:
    _, owner = await room.account()
    application_id = await room.application(owner)
    request = update(
        pb.Application(application_id=application_id, code_policy=policy), "code_policy"
    )
    with pytest.raises(InvalidArgument) as caught:
        await room.call(owner, room.servicer.UpdateApplication, request)
    assert caught.value.field == f"application.code_policy.{field}"
    stored = await room.store.application(application_id)
    assert stored is not None
    assert stored.code_policy == CodePolicy()


async def test_c010_custom_codes_are_the_operators_to_grant(room: Room) -> None:
    _, owner = await room.account()
    application_id = await room.application(owner)
    request = update(
        pb.Application(application_id=application_id, custom_code_granted=True),
        "custom_code_granted",
    )
    with pytest.raises(PermissionDenied):
        await room.call(owner, room.servicer.UpdateApplication, request)
    response = await room.call(OPERATOR, room.servicer.UpdateApplication, request)
    assert response.application.custom_code_granted
    renamed = update(
        pb.Application(application_id=application_id, display_name="New"), "display_name"
    )
    response = await room.call(owner, room.servicer.UpdateApplication, renamed)
    assert response.application.custom_code_granted


async def test_an_update_changes_what_the_mask_names(room: Room) -> None:
    _, owner = await room.account()
    application_id = await room.application(owner)
    new = pb.Application(
        application_id=application_id,
        display_name="New",
        brand_name="Brand",
        purposes=["login"],
        code_policy=pb.CodePolicy(length=8, ttl=Duration(seconds=120), resend=pb.RESEND_POLICY_NEW),
    )
    request = update(new, "brand_name", "purposes", "code_policy")
    await room.call(owner, room.servicer.UpdateApplication, request)
    stored = await room.directory.application(application_id)
    assert stored is not None
    assert (stored.display_name, stored.brand_name) == ("Shop", "Brand")
    assert stored.purposes == {"login"}
    assert stored.code_policy == CodePolicy(8, 2 * MINUTE, 5, Resend.NEW)
    assert stored.version == 2


async def test_c087_regions_narrow_with_the_account(room: Room) -> None:
    account_id, owner = await room.account()
    application_id = await room.application(owner)
    await room.call(
        OPERATOR,
        room.servicer.UpdateAccount,
        pb.UpdateAccountRequest(
            account=pb.Account(account_id=account_id, enabled_regions=["DE"]),
            update_mask=FieldMask(paths=["enabled_regions"]),
        ),
    )
    request = update(
        pb.Application(application_id=application_id, enabled_regions=["US"]), "enabled_regions"
    )
    with pytest.raises(FailedPrecondition) as caught:
        await room.call(owner, room.servicer.UpdateApplication, request)
    assert caught.value.reason is Reason.REGION_DISABLED
    account = await room.directory.account(account_id)
    application = await room.directory.application(application_id)
    assert account is not None
    assert application is not None
    assert region_open(account, application, "DE")
    assert not region_open(account, application, "US")


async def test_a_workload_speaks_for_one_application(room: Room) -> None:
    _, owner = await room.account("A")
    _, other = await room.account("B")
    first, second = await room.application(owner), await room.application(other)
    mapped = pb.Application(
        application_id=first, spiffe_ids=[WORKLOAD], spiffe_scopes=["verification.start"]
    )
    await room.call(
        OPERATOR, room.servicer.UpdateApplication, update(mapped, "spiffe_ids", "spiffe_scopes")
    )
    found = await room.directory.application_by_spiffe(WORKLOAD)
    assert found is not None
    assert found.application_id == first
    taken = pb.Application(application_id=second, spiffe_ids=[WORKLOAD])
    with pytest.raises(InvalidArgument) as caught:
        await room.call(OPERATOR, room.servicer.UpdateApplication, update(taken, "spiffe_ids"))
    assert caught.value.field == "spiffe_ids"
    dropped = pb.Application(application_id=first)
    await room.call(OPERATOR, room.servicer.UpdateApplication, update(dropped, "spiffe_ids"))
    assert await room.directory.application_by_spiffe(WORKLOAD) is None


async def test_c051_certificates_get_no_scope_that_their_mapper_lacks(room: Room) -> None:
    account_id, owner = await room.account()
    application_id = await room.application(owner)
    weak = Caller(account_id, "", "CRweak", frozenset({Scope.ACCOUNT_ADMIN}))
    for scope in ("hold", "operator"):
        mapped = pb.Application(application_id=application_id, spiffe_scopes=[scope])
        with pytest.raises(PermissionDenied):
            await room.call(weak, room.servicer.UpdateApplication, update(mapped, "spiffe_scopes"))


async def test_applications_are_listed_in_pages(room: Room) -> None:
    account_id, owner = await room.account()
    created = []
    for _ in range(3):
        created.append(await room.application(owner))
        room.clock.advance(1)
    lists = room.servicer.ListApplications
    first = await room.call(owner, lists, pb.ListApplicationsRequest(page_size=2))
    token = first.next_page_token
    rest = await room.call(owner, lists, pb.ListApplicationsRequest(page_size=2, page_token=token))
    listed = [a.application_id for a in (*first.applications, *rest.applications)]
    assert listed == created[::-1]
    assert not rest.next_page_token
    with pytest.raises(InvalidArgument):
        await room.call(
            owner, lists, pb.ListApplicationsRequest(account_id=account_id, page_token=token)
        )
    with pytest.raises(InvalidArgument):
        await room.call(owner, lists, pb.ListApplicationsRequest(page_size=-1))


async def test_only_the_operator_maps_certificates(room: Room) -> None:
    _, owner = await room.account()
    mapped = pb.Application(application_id=await room.application(owner), spiffe_ids=[WORKLOAD])
    with pytest.raises(PermissionDenied):
        await room.call(owner, room.servicer.UpdateApplication, update(mapped, "spiffe_ids"))
    asked = pb.CreateApplicationRequest(
        display_name="Shop", enabled_regions=["DE"], spiffe_ids=[WORKLOAD]
    )
    with pytest.raises(PermissionDenied):
        await room.call(owner, room.servicer.CreateApplication, asked)
    assert await room.directory.application_by_spiffe(WORKLOAD) is None

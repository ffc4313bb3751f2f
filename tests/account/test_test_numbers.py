import pytest
from tests.account.room import Room

from watchword.account.v1 import account_pb2 as pb
from watchword.core.errors import FailedPrecondition, InvalidArgument, NotFound, Reason
from watchword.core.ports import DAY, SECOND
from watchword.tenancy.model import TEST_NUMBER_TTL, Caller
from watchword.vault.envelope import SealBroken, aad, unwrap
from watchword.vault.keyring import KeyUse

NUMBER, CODE = "+12025550123", "123456"


async def created(
    room: Room,
    owner: Caller,
    application_id: str,
    phone_number: str = NUMBER,
    code: str = CODE,
    request_id: str = "",
) -> pb.TestNumber:
    request = pb.CreateTestNumberRequest(
        application_id=application_id,
        phone_number=phone_number,
        code=code,
        request_id=request_id,
    )
    return (await room.call(owner, room.servicer.CreateTestNumber, request)).test_number


async def listed(room: Room, owner: Caller, application_id: str) -> list[str]:
    request = pb.ListTestNumbersRequest(application_id=application_id)
    response = await room.call(owner, room.servicer.ListTestNumbers, request)
    return [number.phone_number for number in response.test_numbers]


async def test_a_test_number_is_kept_sealed_and_shown_whole(room: Room) -> None:
    account_id, owner = await room.account()
    application_id = await room.application(owner)
    shown = await created(room, owner, application_id, phone_number="+1 (202) 555-0123")
    assert shown.phone_number == NUMBER
    assert (shown.expire_time.seconds - shown.create_time.seconds) * SECOND == 90 * DAY
    index = room.index.phone(account_id, NUMBER)
    row = await room.directory.test_number(application_id, index)
    assert row is not None
    assert CODE not in repr(room.store.tables)
    assert "2025550123" not in repr(room.store.tables)
    place = aad("test_number", row.row_name, "code", account_id)
    assert unwrap(room.provider, row.code_sealed, place).decode() == CODE
    with pytest.raises(SealBroken):
        unwrap(room.provider, row.phone_sealed, place)
    assert await listed(room, owner, application_id) == [NUMBER]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"application_id": ""}, "application_id"),
        ({"phone_number": ""}, "phone_number"),
        ({"phone_number": "2025550123"}, "phone_number"),
        ({"code": ""}, "code"),
        ({"code": "12345"}, "code"),
        ({"code": "123456789"}, "code"),
        ({"code": "١٢٣٤٥٦"}, "code"),
        ({"code": "123456\n"}, "code"),
    ],
)
async def test_c054_a_malformed_test_number_names_its_field(
    room: Room, fields: dict[str, str], field: str
) -> None:
    _, owner = await room.account()
    application_id = await room.application(owner)
    with pytest.raises(InvalidArgument) as caught:
        await created(room, owner, **{"application_id": application_id, **fields})
    assert caught.value.field == field


async def test_somebodys_number_is_no_test_number(room: Room) -> None:
    _, owner = await room.account()
    application_id = await room.application(owner)
    with pytest.raises(InvalidArgument) as caught:
        await created(room, owner, application_id, phone_number="+12025550200")
    assert caught.value.reason is Reason.NUMBER_NOT_ALLOWED


async def test_ten_at_most_and_ninety_days(room: Room) -> None:
    _, owner = await room.account()
    application_id = await room.application(owner)
    for last in range(10):
        await created(room, owner, application_id, phone_number=f"+1202555010{last}")
    with pytest.raises(FailedPrecondition) as caught:
        await created(room, owner, application_id)
    assert caught.value.reason is Reason.TEST_NUMBER_LIMIT
    room.clock.advance(TEST_NUMBER_TTL)
    assert await listed(room, owner, application_id) == []
    await created(room, owner, application_id)


async def test_lists_of_test_numbers_come_in_pages(room: Room) -> None:
    _, owner = await room.account()
    application_id = await room.application(owner)
    numbers = [f"+1202555010{last}" for last in range(5)]
    for number in numbers:
        await created(room, owner, application_id, phone_number=number)
    seen, token = [], ""
    while True:
        request = pb.ListTestNumbersRequest(
            application_id=application_id, page_size=2, page_token=token
        )
        page = await room.call(owner, room.servicer.ListTestNumbers, request)
        assert len(page.test_numbers) <= 2
        seen += [shown.phone_number for shown in page.test_numbers]
        token = page.next_page_token
        if not token:
            break
    assert sorted(seen) == numbers


async def test_deleted_means_gone_and_a_repetition_does_not_bring_it_back(room: Room) -> None:
    _, owner = await room.account()
    application_id = await room.application(owner)
    await created(room, owner, application_id, request_id="make")
    request = pb.DeleteTestNumberRequest(
        application_id=application_id, phone_number=NUMBER, request_id="drop"
    )
    for _ in range(2):
        await room.call(owner, room.servicer.DeleteTestNumber, request)
    assert await listed(room, owner, application_id) == []
    request.request_id = "again"
    with pytest.raises(NotFound) as caught:
        await room.call(owner, room.servicer.DeleteTestNumber, request)
    assert caught.value.reason is Reason.TEST_NUMBER_NOT_FOUND
    with pytest.raises(NotFound):
        await created(room, owner, application_id, request_id="make")


async def test_a_number_made_under_an_older_index_key_is_still_found(room: Room) -> None:
    _, owner = await room.account()
    application_id = await room.application(owner)
    await created(room, owner, application_id)
    room.provider.rotate(KeyUse.INDEX)
    room.provider.rotate(KeyUse.WRAP)
    await created(room, owner, application_id, code="654321")
    assert await listed(room, owner, application_id) == [NUMBER]
    request = pb.DeleteTestNumberRequest(application_id=application_id, phone_number=NUMBER)
    await room.call(owner, room.servicer.DeleteTestNumber, request)
    assert await listed(room, owner, application_id) == []
